"""One request on a connection of its own, exactly as it is meant: for probes, not for use.

Any ``Host``, any header, HTTP/1.1 or HTTP/2; only the status of the answer is of interest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h11
import trio

from crush_trio.addresses import Address
from crush_trio.client.connection import connector
from crush_trio.errors import ServerUnavailableError

PATIENCE = 5.0
"""Seconds that an answer may take; the probes ask for nothing that takes time."""


@attrs.frozen
class Question:
    """One request.

    Attributes:
        target: A path, or a whole URL (HTTP/1.1 only).
        host: The ``Host`` or ``:authority``.
        headers: The other headers, with lower-case names.
    """

    method: str
    target: str
    host: str
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    body: bytes = b""


Ask = Callable[[Question], Awaitable[str]]
"""Puts a question; returns the status of the answer, or in words why there is none."""


def asker(address: Address, protocol: str) -> Ask:
    """Return what puts questions to a server.

    Args:
        address: Where it is.
        protocol: ``h2`` or ``http/1.1``, as in ALPN; without TLS they are spoken at once.

    The returned function raises ServerUnavailableError where nobody listens, and CertificateError
    where the certificate is not trusted.
    """
    connect = connector(address, protocols=(protocol,))
    put = _put_h2 if protocol == "h2" else _put_h1

    async def ask(question: Question) -> str:
        with trio.move_on_after(PATIENCE):
            try:
                stream = await connect()
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise ServerUnavailableError(f"no server answers at {address}: {reason}") from error
            try:
                return await put(stream, question)
            except (trio.BrokenResourceError, h11.RemoteProtocolError, h2.exceptions.ProtocolError):
                return "connection lost"
            finally:
                await trio.aclose_forcefully(stream)
        return f"nothing in {PATIENCE:g} s"

    return ask


async def _put_h1(stream: trio.abc.Stream, question: Question) -> str:
    connection = h11.Connection(h11.CLIENT)
    headers = [("host", question.host), *question.headers, *_length(question)]
    request = h11.Request(method=question.method, target=question.target, headers=headers)
    data = connection.send(request) or b""
    data += (connection.send(h11.Data(data=question.body)) or b"") if question.body else b""
    await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            return str(event.status_code)
        if isinstance(event, h11.ConnectionClosed):
            return "connection lost"
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))


async def _put_h2(stream: trio.abc.Stream, question: Question) -> str:
    encrypted = isinstance(stream, trio.SSLStream)
    if encrypted and stream.selected_alpn_protocol() != "h2":
        return "no HTTP/2"
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    head = [
        (":method", question.method),
        (":scheme", "https" if encrypted else "http"),
        (":authority", question.host),
        (":path", question.target),
    ]
    connection.send_headers(1, [*head, *question.headers, *_length(question)])
    connection.send_data(1, question.body, end_stream=True)
    while True:
        await stream.send_all(connection.data_to_send())
        data = await stream.receive_some()
        if not data:
            return "connection lost"
        for event in connection.receive_data(bytes(data)):
            match event:
                case h2.events.ResponseReceived(headers=headers):
                    return dict(headers)[b":status"].decode()
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    return "stream reset"
                case _:
                    pass


def _length(question: Question) -> list[tuple[str, str]]:
    stated = bool(question.body) or question.method == "POST"
    return [("content-length", str(len(question.body)))] if stated else []
