"""One streamed response over HTTP: read as far as its answer goes, then out of the way.

Nothing on the way out waits for the other side for longer than ``DRAIN_TIMEOUT`` (R11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.answer import AnswerReader
from crush_trio.providers.base import Delta
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.failures import reason_of, transport_error

if TYPE_CHECKING:
    import httpx2

DRAIN_TIMEOUT = 0.05
"""Seconds to wait for the end of a complete answer's body, so that its connection can be kept.
Usually it has come with the answer, and a new TLS connection costs about as much."""

YIELD_EVERY = 16
"""Deltas that are handed over between two full checkpoints, about a millisecond's work."""


class ResponseDeltas:
    """The deltas of one response, to be closed by whoever has opened it."""

    def __init__(
        self,
        response: httpx2.Response,
        reader: AnswerReader,
        endpoint: Endpoint,
        broken: type[Exception],
    ) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()
        self._endpoint = endpoint
        self._broken = broken
        self._reader = reader
        self._taken = 0

    def __aiter__(self) -> ResponseDeltas:
        return self

    async def __anext__(self) -> Delta:
        self._taken += 1
        if self._taken % YIELD_EVERY:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        while (delta := self._take()) is None:
            if self._reader.finished:
                raise StopAsyncIteration
            await self._read()
        return delta

    async def aclose(self) -> None:
        """Give the connection back if the answer is complete, close it otherwise."""
        try:
            if self._reader.finished:
                with trio.move_on_after(DRAIN_TIMEOUT):
                    await self._skip()
        finally:
            # Cancelled at its first wait: that unwinds the SDK's generators from the inside, and
            # they close the connection. Closing them from the outside leaves some to the collector.
            with trio.move_on_after(0, shield=True):
                await self._skip()

    def _take(self) -> Delta | None:
        try:
            return self._reader.take()
        except ProviderError as error:
            raise self._endpoint.cleaned(error) from None

    async def _read(self) -> None:
        try:
            data = await anext(self._chunks, b"")
        except self._broken as error:
            url = self._endpoint.shown_url
            self._reader.fail(transport_error(f"the connection to {url} broke: {reason_of(error)}"))
            return
        if data:
            self._reader.feed(data)
        elif not self._reader.started and not self._is_event_stream():
            self._reader.fail(self._not_a_stream())
        else:
            self._reader.end()

    async def _skip(self) -> None:
        try:
            async for _ in self._chunks:
                pass
        except self._broken:
            pass

    def _is_event_stream(self) -> bool:
        return "event-stream" in self._response.headers.get("content-type", "event-stream")

    def _not_a_stream(self) -> ProviderError:
        kind = self._response.headers.get("content-type", "")
        url = self._endpoint.shown_url
        return ProviderError(
            f"{url} answered with {kind!r}, not with an event stream; check its address"
        )
