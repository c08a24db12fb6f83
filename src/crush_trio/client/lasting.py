"""A workspace's events across lost connections.

Each end looks the same over a socket that is delimited by its connection: the server stops, a proxy
gives up, a laptop wakes. So every end is answered by coming back, with the id of the last event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

import trio

from crush_trio.client.events import EventStream
from crush_trio.errors import ResponseError, ServerUnavailableError
from crush_trio.wire.events import Event

T = TypeVar("T")

RETURN_TIMEOUT = 15.0
"""Seconds that a lost server has to come back: longer than a restart takes."""

RETRY_PAUSE = 0.25
"""Seconds between two attempts to reach a lost server (wire contract 5.8)."""

BEFORE_ALL = 0
"""An id that is older than any log, so that the server says that there is a gap."""

STOPPING = frozenset({409, 503})
"""How a server refuses a stream that stops, and may be about to start again."""


class LastingEvents:
    """The events of one workspace for as long as it is open. Use ``WorkspaceClient.lasting_events``.

    Iterate over it. Each stream begins with a ``hello``. After a gap that the server could not fill
    comes a ``too_old``: what there was between is to be read from the state. The iteration ends
    when the workspace is gone, or when its server had ended the stream and did not come back.

    """

    def __init__(
        self,
        open_stream: Callable[[int | None], AbstractAsyncContextManager[EventStream]],
        stack: AsyncExitStack,
        patience: float,
    ) -> None:
        self._open_stream = open_stream
        self._stack = stack
        self._patience = patience
        self._stream: EventStream | None = None

    @property
    def last_id(self) -> int | None:
        """The id of the last event; None where the server gives no ids."""
        return None if self._stream is None else self._stream.last_id

    def __repr__(self) -> str:
        return f"<LastingEvents at {self.last_id}>"

    def __aiter__(self) -> LastingEvents:
        return self

    async def connect(self) -> None:
        """Leave the present stream, if there is one, and open the next.

        Raises:
            ResponseError: the server refused it.
            ServerUnavailableError: nobody answers.
        """
        after = self.last_id
        if after is None and self._stream is not None:
            after = (
                BEFORE_ALL  # it was lost before its hello came: what has passed since is missing
            )
        opened = self._open_stream(after)
        await self._stack.aclose()
        self._stream = await self._stack.enter_async_context(opened)

    async def __anext__(self) -> Event:
        """Wait for the next event, if need be on another connection.

        Raises:
            StopAsyncIteration: the workspace is gone, or its server went away in good order.
            ServerUnavailableError: the server was lost and has not come back in time.
            ResponseError: what came is not an event, or the server refused us.
        """
        return await self._persist(EventStream.__anext__)

    async def receive_line(self) -> bytes:
        """Wait for the next event and return its JSON, as ``EventStream.receive_line``.

        Raises:
            StopAsyncIteration: as for the iteration, and so are the others.
        """
        return await self._persist(EventStream.receive_line)

    async def _persist(self, receive: Callable[[EventStream], Awaitable[T]]) -> T:
        while True:
            assert self._stream is not None
            try:
                return await receive(self._stream)
            except (StopAsyncIteration, ServerUnavailableError) as end:
                await self._come_back(end)

    async def _come_back(self, end: Exception) -> None:
        """Open another stream; raise ``end`` if the server stays away."""
        deadline = trio.current_time() + self._patience
        while True:
            await trio.sleep(RETRY_PAUSE)
            try:
                return await self.connect()
            except ServerUnavailableError as error:
                refusal: Exception = error
            except ResponseError as error:
                if error.status == 404:
                    raise StopAsyncIteration from error
                if error.status not in STOPPING:
                    raise
                refusal = error
            if trio.current_time() >= deadline:
                raise end from refusal
