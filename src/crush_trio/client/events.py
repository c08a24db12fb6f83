"""A workspace's events, decoded, one after another."""

from __future__ import annotations

from collections import deque

import msgspec

from crush_trio.client.transport import Chunks
from crush_trio.errors import ResponseError
from crush_trio.wire.events import Event, decode_event
from crush_trio.wire.sse import SSEReader


class EventStream:
    """The events of one workspace from the moment of subscribing. Use ``WorkspaceClient.events``.

    Iterate over it; the iteration ends when the server ends the stream. Events of types that this
    version does not know are passed over; :meth:`receive_line` has them too.
    """

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._reader = SSEReader()
        self._lines: deque[bytes] = deque()

    def __repr__(self) -> str:
        return f"<EventStream {len(self._lines)} lines unread>"

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event of a known type.

        Raises:
            StopAsyncIteration: the server ended the stream.
            ServerUnavailableError: the stream was cut off.
            ResponseError: what came is not an event.
        """
        while True:
            line = await self.receive_line()
            try:
                event = decode_event(line)
            except msgspec.DecodeError as error:
                raise ResponseError(
                    200, f"the server sent an event that is none: {error}"
                ) from error
            if event is not None:
                return event

    async def receive_line(self) -> bytes:
        """Wait for the next event and return its JSON as it came.

        Raises:
            StopAsyncIteration: the server ended the stream.
            ServerUnavailableError: the stream was cut off.
        """
        while not self._lines:
            self._lines.extend(self._reader.feed(await anext(self._chunks)))
        return self._lines.popleft()
