"""Reading one streamed answer: bytes in, deltas out. Sans I/O.

What the forms of all vendors have in common is here: cutting the bytes into events, handing over
what was made of them, and what the end of the connection means. What an event says is read by
``chat_stream`` and ``messages_stream``.

The bytes may be cut anywhere. Nothing that arrived is lost: an error takes its place behind the
deltas that came before it (R10). Rules are those of agent contract 1.23 and wire contract 6.6.

Synopsis::

    reader = ChatReader()
    reader.feed(data)           # as often as there is data; then end() or fail()
    while (delta := reader.take()) is not None:
        ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

import msgspec

from crush_trio.errors import ProviderError
from crush_trio.messages import FinishReason
from crush_trio.providers.base import Delta, StreamEnd, Usage
from crush_trio.providers.failures import stream_error, transport_error
from crush_trio.wire.sse import SSEReader

LINE_LIMIT = 32 * 2**20
"""Bytes that may come without an event among them; a stream with more is not what it seems (C3)."""


class AnswerReader(ABC):
    """Reads one answer. No method is a checkpoint.

    Attributes:
        finished: Whether nothing more will come: the end or an error is in line, or taken.
        started: Whether the stream has held any event.
    """

    def __init__(self) -> None:
        self.finished = False
        self.started = False
        self._lines = SSEReader()
        self._silent_bytes = 0
        self._ready: deque[Delta | ProviderError] = deque()
        self._usage: Usage | None = None
        self._reason: str | None = None

    def take(self) -> Delta | None:
        """Return the next delta, or None if more data is needed or the answer is over.

        Raises:
            ProviderError: the answer failed; everything before that has been taken.
        """
        if not self._ready:
            return None
        item = self._ready.popleft()
        if isinstance(item, ProviderError):
            raise item
        return item

    def feed(self, data: bytes) -> None:
        """Read the next bytes. What comes after the end is ignored."""
        self._silent_bytes += len(data)
        for line in self._lines.feed(data):
            self._silent_bytes = 0
            if self.finished:
                return
            self.started = True
            try:
                self._event(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._fail(stream_error(f"an event cannot be read: {error}"))
        if self._silent_bytes > LINE_LIMIT:
            self._fail(stream_error(f"no event in {self._silent_bytes} bytes of the answer"))

    def end(self) -> None:
        """The connection ended properly. Not every server announces that before."""
        self._close(transport_error("the answer ended before it was complete"))

    def fail(self, error: ProviderError) -> None:
        """The connection broke. An answer of which only the end's announcement is missing is complete."""
        self._close(error)

    @abstractmethod
    def _event(self, line: bytes) -> None:
        """Read one event; the errors of decoding it may pass."""

    @abstractmethod
    def _conclude(self, reason: str) -> FinishReason:
        """End the parts that are open, and return what the vendor's ``reason`` means."""

    def _close(self, otherwise: ProviderError) -> None:
        if self.finished:
            return
        if self._reason is None:
            self._fail(otherwise)
            return
        reason = self._conclude(self._reason)
        if self._usage is not None:
            self._ready.append(self._usage)
        self._ready.append(StreamEnd(reason))
        self.finished = True

    def _fail(self, error: ProviderError) -> None:
        if not self.finished:
            self._ready.append(error)
            self.finished = True
