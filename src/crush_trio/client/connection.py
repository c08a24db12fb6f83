"""Connections for httpcore out of any Trio stream.

Every connection comes from one callable, real or injected, so that a simulation differs from a
socket in that callable only.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import httpcore2
import trio

from crush_trio.addresses import CA_VARIABLE, Address, certificate_path
from crush_trio.errors import BadRequestError, CertificateError, ServerUnavailableError

Connect = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens one connection to the server; raises OSError where there is none."""


def connector(address: Address, *, protocols: Sequence[str] = ("http/1.1",)) -> Connect:
    """Return what opens a connection to ``address``.

    Args:
        address: Where the server is. The certificates that are trusted are read now.
        protocols: What is offered by ALPN, if the connection is encrypted.

    Raises:
        BadRequestError: the file of trusted certificates cannot be used.
    """
    context = _trust(address, protocols) if address.tls else None

    async def connect_unix() -> trio.abc.Stream:
        _check_owner(address.path)
        return await trio.open_unix_socket(address.path)

    async def connect_tcp() -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(address.host, address.port)
        # A run may be silent for hours; keep-alive is what notices that the server's host vanished.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return stream if context is None else await _encrypt(stream, context, address)

    return connect_unix if address.network == "unix" else connect_tcp


def _trust(address: Address, protocols: Sequence[str]) -> ssl.SSLContext:
    """Return the certificates to trust: those that were given, else the usual ones.

    These are the system's, and that which a server of this user has made for the address.
    """
    given = address.ca or os.environ.get(CA_VARIABLE)
    made = certificate_path(address)
    try:
        context = ssl.create_default_context(cafile=given or None)
        if not given and made.exists():
            context.load_verify_locations(made)
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificate in PEM"
        if not isinstance(error, ssl.SSLError):
            reason = (error.strerror or str(error)).lower()
        raise BadRequestError(f"cannot trust {given or str(made)!r}: {reason}") from None
    context.set_alpn_protocols(list(protocols))
    return context


async def _encrypt(
    stream: trio.SocketStream, context: ssl.SSLContext, address: Address
) -> trio.abc.Stream:
    """Agree on the encryption.

    Raises:
        CertificateError: the server is not known to be the right one.
        OSError: it does not speak TLS, or has gone.
    """
    encrypted = trio.SSLStream(stream, context, server_hostname=address.host)
    try:
        await encrypted.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise CertificateError(
                f"the certificate of {address} is not trusted: {cause.verify_message}; "
                "if it is the right server, give its certificate with --tls-ca"
            ) from error
        raise OSError("it does not speak TLS, or not as we do") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return encrypted


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
    """A Trio stream as httpcore wants it. No time-outs: a run may last for hours.

    Nor ``start_tls``: to httpcore every address of ours is plain HTTP, since the connector has
    encrypted the stream already where it is to be.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error) or "connection lost") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Send; if the server has gone, the next read tells, behind what it had still said.

        On HTTP/2 httpcore acknowledges what has come before it hands it over: an error here would
        cost us the last answer of a server that stops.
        """
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        """Tell httpcore whether an idle connection has been closed by the server."""
        stream: Any = self._stream
        if isinstance(stream, trio.SSLStream):
            stream = cast("Any", stream).transport_stream
        if info == "is_readable":
            # A stream that was injected may know it too.
            known = stream.socket if isinstance(stream, trio.SocketStream) else stream
            return known.is_readable() if hasattr(known, "is_readable") else None
        return None
