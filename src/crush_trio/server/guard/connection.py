"""One connection: what goes wrong in it stays in it, and no write waits without a bound."""

from __future__ import annotations

import logging
import math
import os
from contextlib import suppress

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr  # pyright: ignore[reportUnknownVariableType]

from crush_trio.server.guard.context import ServerContext
from crush_trio.server.guard.protocol import GuardedProtocol

logger = logging.getLogger(__name__)

INTAKE = 16 * 2**10
"""Bytes that are read at a time. What has been read is handled in one go, and 64 kB of tiny HTTP/2
frames (hypercorn's) would keep everybody else waiting for 60 ms."""

PIECE = 16 * 2**10
"""Bytes that a peer must take within one send deadline, and so is not cut for reading slowly."""

LARGE = 64 * 2**10
"""A write of this many bytes lets other tasks run, also if it did not have to wait."""

LINGER = 2.0
"""Seconds for which the rest of a request that was answered early is read and thrown away. Closing
with unread input resets the connection, and the peer loses the answer that says what was wrong."""


class GuardedTCPServer(TCPServer):
    """One connection, with the failures of hypercorn's contained.

    - An error ends this connection and no other (hypercorn: the whole server).
    - A write is bounded (:mod:`.deadlines`; hypercorn: shielded without end), tried at once without
      the event loop, and lost by no cancel: what is to be sent is queued in the same step in which
      the protocol made it, so that one stream's cancel leaves no hole in what its neighbours send.
    - When the peer has gone, so have the socket and the task (hypercorn: if it sent no request, only
      after the idle time-out).
    - The head of a request has its time, however often a byte of it arrives.
    - Over TLS our end is said before the socket is closed (hypercorn: never), or a body that ends
      with its connection would look cut off (S6).
    """

    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    protocol: GuardedProtocol
    context: ServerContext

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: ServerContext,
        state: LifespanState,
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
    ) -> None:
        super().__init__(app, config, context, state, stream)  # pyright: ignore[reportArgumentType]  maybe no TLS
        self._tls = stream if isinstance(stream, trio.SSLStream) else None
        self._socket = (stream if self._tls is None else self._tls.transport_stream).socket
        self._unsent = bytearray()
        self._writing = False
        self._written = trio.lowlevel.ParkingLot()
        self._reading = trio.CancelScope()
        self._head: int | None = None
        self._head_ends = math.inf
        self._ended = self._lost = self._gone = False

    async def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            if await self._shake_hands():
                await self._converse()
        except* OSError:
            pass  # the peer has gone
        except* Exception as group:
            logger.exception("a connection failed and was closed", exc_info=group)
        finally:
            await trio.aclose_forcefully(self.stream)

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol wants."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._end()
        elif not self._gone:  # or the idle timer would outlive the connection
            await super().protocol_send(event)

    async def _shake_hands(self) -> bool:
        """Agree on the encryption, if there is one. Returns whether the connection goes on."""
        if self._tls is None:
            return True
        with self.context.deadlines.bound(patient=False):
            try:
                await self._tls.do_handshake()
            except trio.BrokenResourceError as error:
                logger.debug("a peer failed to agree on an encryption: %s", error.__cause__)
            else:
                return True
        return False

    async def _converse(self) -> None:
        agreed: str | None = None if self._tls is None else self._tls.selected_alpn_protocol()
        client = parse_socket_addr(self._socket.family, self._socket.getpeername())
        server = parse_socket_addr(self._socket.family, self._socket.getsockname())
        async with TaskGroup() as task_group:
            self._task_group = task_group
            self.protocol = GuardedProtocol(  # pyright: ignore[reportIncompatibleVariableOverride]  only we set it
                self.app,
                self.config,
                self.context,
                task_group,
                ConnectionState(self.state),
                self._tls is not None,
                client,
                server,
                self.protocol_send,
                agreed=agreed,
            )
            await self.protocol.initiate()
            await self.idle_task.restart(task_group, self._idle_timeout)  # pyright: ignore[reportUnknownMemberType]
            await self._read_data()
            self._gone = True
            await self.protocol.handle(Closed())
            await self.idle_task.stop()
            await self._close()

    async def _close(self) -> None:
        """Close the socket."""
        if self._tls is not None and not (self._lost or self._writing):
            with self.context.deadlines.bound(patient=False):
                await self._tls.aclose()  # which says that this is the end
        await trio.aclose_forcefully(self.stream)

    # --- reading ------------------------------------------------------------------

    async def _read_data(self) -> None:
        with self._reading, suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while data := await self.stream.receive_some(INTAKE):
                if not self._ended:
                    self._reading.deadline = math.inf
                    await self.protocol.handle(RawData(bytes(data)))
                if not self._ended:
                    self._reading.deadline = self._head_deadline()
        if self._reading.cancelled_caught and not self._ended:
            await self.protocol.protocol.refuse_late_head()

    def _head_deadline(self) -> float:
        """Return when the head that has begun must be there: counted from its first byte."""
        head = self.protocol.protocol.head
        if head != self._head:
            self._head = head
            self._head_ends = trio.current_time() + self.context.head_timeout
        return math.inf if head is None else self._head_ends

    async def _end(self) -> None:
        """End our side; reading ends at once, or once the peer has been heard out.

        TLS knows no half-closed connections: there our end is said when reading has ended.
        """
        self._ended = True
        linger = LINGER if self.protocol.protocol.unread else 0
        self._reading.deadline = min(self._reading.deadline, trio.current_time() + linger)
        if isinstance(self.stream, trio.SSLStream):
            await trio.lowlevel.checkpoint()
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await self.stream.send_eof()

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.context.terminated.wait()
        # A request that arrives now stops this task, but must not stop half a goodbye.
        with self.context.deadlines.bound(patient=False, shield=True):
            await self.protocol.protocol.say_goodbye()
            await self._end()

    # --- writing ------------------------------------------------------------------

    async def _write(self, data: bytes) -> None:
        """Send ``data`` after all that was to be sent before. One task writes for all."""
        if self._lost:
            await trio.lowlevel.checkpoint()
            return
        self._unsent += data
        if self._writing:
            await self._written.park()
            return
        self._writing = True
        try:
            while self._unsent:
                data = bytes(self._unsent)
                self._unsent.clear()
                await self._write_bounded(data)
        except trio.TooSlowError:
            logger.info("a peer read nothing for too long: its connection is closed")
            self._lose()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._lose()
        finally:
            self._writing = False
            self._written.unpark_all()

    async def _write_bounded(self, data: bytes) -> None:
        rest = memoryview(data)[self._write_now(data) :]
        if not rest and len(data) >= LARGE:
            await trio.lowlevel.cancel_shielded_checkpoint()
        for start in range(0, len(rest), PIECE):
            patient = self.protocol.protocol.patient
            with self.context.deadlines.bound(patient=patient, shield=True) as scope:
                await self.stream.send_all(rest[start : start + PIECE])
            if scope.cancelled_caught:
                raise trio.TooSlowError

    def _write_now(self, data: bytes) -> int:
        """Write what the socket takes at once and return how much. Not a checkpoint."""
        if type(self.stream) is not trio.SocketStream:
            return 0
        try:
            return os.write(self.stream.socket.fileno(), data)
        except BlockingIOError:
            return 0

    def _lose(self) -> None:
        """Give up a connection that cannot be written to. The reading task tells the streams."""
        self._unsent.clear()
        self._lost = self._ended = True
        self._reading.cancel("connection lost")
