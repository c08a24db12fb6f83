"""HTTP/1.1, where hypercorn's does something that we must not do."""

from __future__ import annotations

from typing import Any

import h11
from hypercorn.protocol.events import Event, Response
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol

from crush_trio.server.guard.context import ServerContext
from crush_trio.server.guard.streams import is_event_stream

PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
"""What h11 has eaten of HTTP/2's preface when it reports it as a request."""


class GuardedH11Protocol(H11Protocol):
    """One HTTP/1.1 connection.

    - An event stream has no chunked coding: it ends with its connection, so that even the death of
      this process is a proper end of body (wire contract 0 and 5.3).
    - A request to upgrade is answered as if it had not asked (wire contract 1.1). Hypercorn's
      websockets let one trailing byte end the whole server (pgjones/hypercorn#225).
    - While the server closes, each answer says that it is the connection's last.
    """

    connection: h11.Connection  # pyright: ignore[reportIncompatibleVariableOverride]  no websocket replaces it
    context: ServerContext

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.patient = False

    @property
    def unread(self) -> bool:
        """Whether the peer may be sending something that nobody will read."""
        pending, _ = self.connection.trailing_data
        return bool(pending) or self.connection.their_state is h11.SEND_BODY

    async def say_goodbye(self) -> None:
        """HTTP/1.1 knows no goodbye."""

    async def stream_send(self, event: Event) -> None:
        """Send one event of the application."""
        if isinstance(event, Response):
            self.patient = is_event_stream(event.headers)
            if self.patient:
                # Made to believe that the peer is too old for chunks, h11 closes instead.
                self.connection.their_http_version = b"1.0"
            elif self.context.deadlines.closing:
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
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )
