"""A workspace's events, decoded, one after another."""

from __future__ import annotations

from collections import deque

import msgspec

from crush_trio.client.transport import Chunks
from crush_trio.errors import ResponseError
from crush_trio.wire.deltas import MessageAssembler
from crush_trio.wire.events import Event, PermissionNotification
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sse import SSEReader
from crush_trio.wire.streams import Hello


class EventStream:
    """The events of one workspace from the moment of subscribing. Use ``WorkspaceClient.events``.

    Iterate over it; the iteration ends when the server ends the stream. Messages are always whole,
    also where the server sends only what is new in them. Requests that are open come as events of
    their own behind the ``hello`` that holds them (D2). Events of types that this version does not
    know are passed over; :meth:`receive_line` has them too.

    Attributes:
        last_id: The newest event that has come completely, or the one to go on behind: what a
            reconnect asks for. None before there is one, and where the server gives no ids.

    Args:
        chunks: The body of the stream.
        after: What the server was asked to go on behind.
    """

    def __init__(self, chunks: Chunks, after: int | None = None) -> None:
        self.last_id = after
        self._chunks = chunks
        self._reader = SSEReader()
        self._assembler = MessageAssembler()
        self._lines: deque[tuple[int | None, bytes]] = deque()
        self._open: deque[Event] = deque()

    def __repr__(self) -> str:
        return f"<EventStream at {self.last_id}, {len(self._lines)} lines unread>"

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event of a known type.

        Raises:
            StopAsyncIteration: the server ended the stream.
            ServerUnavailableError: the stream was cut off.
            ResponseError: what came is not an event.
        """
        while not self._open:
            _, event = await self._receive()
            if event is not None and isinstance(event.payload, Hello):
                self._open.extend(_open_requests(event.payload))
            if event is not None:
                return event
        return self._open.popleft()

    async def receive_line(self) -> bytes:
        """Wait for the next event and return its JSON, as it came but for messages, which are whole.

        Raises:
            StopAsyncIteration: the server ended the stream.
            ServerUnavailableError: the stream was cut off.
            ResponseError: what came is not an event.
        """
        line, event = await self._receive()
        if event is None or not isinstance(event.payload, WireMessage):
            return line
        return event.frame.removeprefix(b"data: ").rstrip()

    async def _receive(self) -> tuple[bytes, Event | None]:
        """Wait for the next event; return its JSON, and the event if its type is known."""
        number, line = await self._next_line()
        while not line and number is not None:  # an id alone: nothing is to be told of that event
            self.last_id = number
            number, line = await self._next_line()
        try:
            event = self._assembler.take(line)
        except msgspec.DecodeError as error:
            raise ResponseError(200, f"the server sent an event that is none: {error}") from error
        self.last_id = self.last_id if number is None else number
        return line, event

    async def _next_line(self) -> tuple[int | None, bytes]:
        while not self._lines:
            self._lines.extend(self._reader.feed_numbered(await anext(self._chunks)))
        return self._lines.popleft()


def _open_requests(hello: Hello) -> list[Event]:
    """Return what a stream without a ``hello`` begins with (wire contract 0)."""
    found: list[Event] = []
    for request in hello.permissions:
        asked = PermissionNotification(request.tool_call_id, granted=False, denied=False)
        found.append(Event("permission_notification", "created", asked))
        found.append(Event("permission_request", "created", request))
    found.extend(Event("question_batch_request", "created", batch) for batch in hello.questions)
    return found
