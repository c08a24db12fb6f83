"""HTTP/1.1, where hypercorn's does something that we must not do."""

from __future__ import annotations

from typing import Any

import h11
from hypercorn.events import Closed
from hypercorn.protocol.events import Event, Response
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

from crush_trio.server.guard.context import ServerContext
from crush_trio.server.guard.methods import safe_method
from crush_trio.server.guard.streams import is_event_stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
"""What h11 has eaten of HTTP/2's preface when it reports it as a request."""


class Connection(h11.Connection):
    """The state of a connection; once it is deaf, what else the peer sends is thrown away.

    Else what a client sends behind its request for an event stream would wait for its turn, nobody
    would read on, and nobody would see the client leave. And an empty line behind a request that the
    client calls its last (RFC 9112, 2.2 and 9.6) would be answered 400 in that request's place.
    """

    streaming = False

    @property
    def deaf(self) -> bool:
        """Whether no other request is awaited."""
        return self.streaming or self.their_state is h11.MUST_CLOSE

    def receive_data(self, data: bytes) -> None:
        """Take what has arrived."""
        if not self.deaf:
            super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what the peer has said."""
        return h11.NEED_DATA if self.deaf else super().next_event()


class GuardedH11Protocol(H11Protocol):
    """One HTTP/1.1 connection.

    - An event stream has no chunked coding: it ends with its connection, so that even the death of
      this process is a proper end of body (wire contract 0 and 5.3).
    - A request to upgrade is answered as if it had not asked (wire contract 1.1). Hypercorn's
      websockets let one trailing byte end the whole server (pgjones/hypercorn#225).
    - An answer says that it is the connection's last, while the server closes and when it comes
      before the end of the request, which hypercorn does not wait for.
    """

    connection: Connection
    context: ServerContext

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.patient = False
        limit = self.config.h11_max_incomplete_size
        self.connection = Connection(h11.SERVER, max_incomplete_event_size=limit)  # pyright: ignore[reportIncompatibleVariableOverride]  no websocket replaces it

    @property
    def unread(self) -> bool:
        """Whether the peer may be sending something that nobody will read."""
        pending, _ = self.connection.trailing_data
        return bool(pending) or self.connection.their_state is h11.SEND_BODY

    @property
    def _is_head(self) -> bool:
        """Whether the present request asks for headers only."""
        return isinstance(self.stream, HTTPStream) and self.stream.scope["method"] == "HEAD"

    @property
    def head(self) -> int | None:
        """The number of the request whose head has begun and is not complete, if there is one."""
        pending, _ = self.connection.trailing_data
        if pending and self.connection.their_state is h11.IDLE:
            return self.keep_alive_requests
        return None

    async def refuse_late_head(self) -> None:
        """Answer a request whose head takes too long, and end the connection."""
        await self._send_error_response(408)
        await self.send(Closed())

    async def say_goodbye(self) -> None:
        """HTTP/1.1 knows no goodbye."""

    async def stream_send(self, event: Event) -> None:
        """Send one event of the application."""
        if isinstance(event, Response):
            self.patient = is_event_stream(event.headers) and not self._is_head
            if self.patient:
                # Made to believe that the peer is too old for chunks, h11 closes instead.
                self.connection.their_http_version = b"1.0"
                self.connection.streaming = True
                await self.can_read.set()
            elif self.context.deadlines.closing or self.connection.their_state is h11.SEND_BODY:
                headers = [*event.headers, (b"connection", b"close")]
                event = Response(event.stream_id, headers, event.status_code)
        await super().stream_send(event)

    async def _check_protocol(self, event: h11.Request) -> None:
        if (event.method, event.target, event.http_version) == (b"PRI", b"*", b"2.0"):
            pending, _ = self.connection.trailing_data
            raise H2ProtocolAssumedError(PREFACE + pending)
        # Else h11 would stop reading until the response, and nobody would see the client leave.
        self.connection._cstate.pending_switch_proposals.clear()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def _create_stream(self, request: h11.Request) -> None:
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(
                method=safe_method(request.method),
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )
