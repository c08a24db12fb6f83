"""Connections for httpcore out of any Trio stream.

Every connection comes from one callable, real or injected, so that a simulation differs from a
socket in that callable only.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore2
import trio

from crush_trio.addresses import Address
from crush_trio.errors import ServerUnavailableError

Connect = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens one connection to the server; raises OSError where there is none."""


def connector(address: Address) -> Connect:
    """Return what opens a socket to ``address``."""

    async def connect_unix() -> trio.abc.Stream:
        _check_owner(address.path)
        return await trio.open_unix_socket(address.path)

    async def connect_tcp() -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(address.host, address.port)
        # A run may be silent for hours; keep-alive is what notices that the server's host vanished.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return stream

    return connect_unix if address.network == "unix" else connect_tcp


def _check_owner(path: str) -> None:
    """Refuse a socket that another user has put there: we are about to send our environment to it."""
    owner = os.stat(path).st_uid  # noqa: PTH116  not a checkpoint, and no Path is needed
    if owner not in {os.geteuid(), 0} and os.geteuid() != 0:
        raise PermissionError(f"it belongs to another user (uid {owner})")


class StreamBackend(httpcore2.AsyncNetworkBackend):
    """The network of one client: all connections lead to the same server."""

    def __init__(self, name: str, connect: Connect) -> None:
        self._name = name
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002  the connector knows better
        port: int,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  httpcore's signature; none is set
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore2.AsyncNetworkStream:
        """Open a connection to the server.

        Raises:
            ServerUnavailableError: nobody answers there.
        """
        try:
            return _NetworkStream(await self._connect())
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServerUnavailableError(
                f"no server answers at {self._name}: {reason.lower()}"
            ) from error


class _NetworkStream(httpcore2.AsyncNetworkStream):
    """A Trio stream as httpcore wants it. No time-outs: a run may last for hours."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error) or "connection lost") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError(str(error) or "connection lost") from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        raise NotImplementedError("the server speaks plain HTTP")

    def get_extra_info(self, info: str) -> Any:
        """Tell httpcore whether an idle connection has been closed by the server."""
        if info == "is_readable" and isinstance(self._stream, trio.SocketStream):
            return self._stream.socket.is_readable()
        return None
