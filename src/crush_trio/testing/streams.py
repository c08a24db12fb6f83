"""Both directions of a simulated connection as Trio streams, in place of sockets."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import attrs
import trio

from crush_trio.testing.pipes import Pipe


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory: what comes in, and where it sends to.

    As with a socket, closing an end that has unread input resets the connection.

    Attributes:
        closed: This end has been closed.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self.closed = False
        self._eof_sent = self._sending = self._receiving = False

    def is_readable(self) -> bool:
        """Whether a read would return at once; of an idle HTTP connection: whether it has ended."""
        return self._incoming.readable

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``; waits while the reader is slow."""
        with self._alone_sending():
            await self._outgoing.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until something can be sent."""
        with self._alone_sending():
            await self._outgoing.wait_room()

    async def send_eof(self) -> None:
        """Say that nothing more comes."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending")
        await trio.lowlevel.checkpoint()
        self._eof_sent = True
        self._outgoing.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; there are none at the end."""
        if max_bytes is not None:
            if type(max_bytes) is not int:
                raise TypeError(f"max_bytes must be an int, not {max_bytes!r}")
            if max_bytes < 1:
                raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving")
        self._receiving = True
        try:
            return await self._incoming.receive(max_bytes)
        finally:
            self._receiving = False

    def close(self) -> None:
        """Close it at once, as a process that is killed does. Not a checkpoint."""
        if self.closed:
            return
        self.closed = True
        if self._incoming.held and not self._incoming.broken:
            self._outgoing.lose()
        self._incoming.leave_reader()
        self._outgoing.leave_writer()

    async def aclose(self) -> None:
        """Close it."""
        self.close()
        await trio.lowlevel.checkpoint()

    @contextmanager
    def _alone_sending(self) -> Generator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending")
        if self._eof_sent:
            raise trio.ClosedResourceError("the end has been sent")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False


@attrs.frozen
class Socket:
    """What a listener asks of a connection's socket."""

    peer: tuple[str, int]
    name: tuple[str, int]
    family: socket.AddressFamily = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        """Return the client's address."""
        return self.peer

    def getsockname(self) -> tuple[str, int]:
        """Return the server's address."""
        return self.name


class ServerStream(MemoryStream):
    """The server's end: with the addresses that a socket would have."""

    def __init__(self, incoming: Pipe, outgoing: Pipe, socket: Socket) -> None:
        super().__init__(incoming, outgoing)
        self.socket = socket
