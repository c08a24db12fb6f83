"""The chat-completions form, inbound: bytes of an event stream in, deltas out. Sans I/O.

The bytes may be cut anywhere. Nothing that arrived is lost: an error takes its place behind the
deltas that came before it (R10). Rules are those of agent contract 1.23 and wire contract 6.6.

Synopsis::

    reader = ChatReader()
    reader.feed(data)           # as often as there is data; then end() or fail()
    while (delta := reader.take()) is not None:
        ...
"""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs
import msgspec

from crush_trio.errors import ProviderError
from crush_trio.ids import new_call_id
from crush_trio.messages import FinishReason
from crush_trio.providers.base import (
    Delta,
    ReasoningDelta,
    ReasoningEnd,
    StreamEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from crush_trio.providers.failures import error_in_stream, stream_error, transport_error
from crush_trio.wire.sse import SSEReader

LINE_LIMIT = 32 * 2**20
"""Bytes that may come without an event among them; a stream with more is not what it seems (C3)."""

_REASONS: dict[str, FinishReason] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filter",
}

# --- what a chunk looks like ---------------------------------------------------------


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _ChoiceDelta(msgspec.Struct):
    content: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct):
    delta: _ChoiceDelta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    cost: Any = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Chunk, strict=False)

# --- the reader --------------------------------------------------------------------------


@attrs.define(eq=False)
class _Call:
    """A tool call while its pieces come in."""

    given_id: str
    id: str
    name: str
    arguments: list[str]


class ChatReader:
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
        self._calls: dict[int, _Call] = {}
        self._all_calls: list[_Call] = []
        self._reasoning = False
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
            self._event(line)
        if self._silent_bytes > LINE_LIMIT:
            self._fail(stream_error(f"no event in {self._silent_bytes} bytes of the answer"))

    def end(self) -> None:
        """The connection ended properly. Not every server says ``[DONE]`` before that."""
        self._close(transport_error("the answer ended before it was complete"))

    def fail(self, error: ProviderError) -> None:
        """The connection broke. An answer of which only its usage is missing is complete."""
        self._close(error)

    def _event(self, line: bytes) -> None:
        self.started = True
        if line == b"[DONE]":
            self.end()
            return
        try:
            chunk = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._fail(stream_error(f"an event cannot be read: {error}"))
            return
        if chunk.error:
            self._fail(error_in_stream(chunk.error))
            return
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        for choice in chunk.choices or ():
            self._choice(choice)

    def _choice(self, choice: _Choice) -> None:
        delta = choice.delta
        if delta is not None:
            thought = delta.reasoning_content or delta.reasoning
            if thought and isinstance(thought, str):
                self._reasoning = True
                self._ready.append(ReasoningDelta(thought))
            if delta.content:
                self._end_reasoning()
                self._ready.append(TextDelta(delta.content))
            for call in delta.tool_calls or ():
                self._end_reasoning()
                self._call(call)
        if choice.finish_reason:
            self._reason = choice.finish_reason

    def _call(self, delta: _CallDelta) -> None:
        function = delta.function or _Function()
        index = len(self._calls) - 1 if delta.index is None else delta.index
        call = self._calls.get(index)
        if call is None or (function.name and delta.id and delta.id != call.given_id):
            # Some servers number all calls 0: another id with a name is another call.
            call = self._calls[max(index, 0)] = self._new_call(delta.id or "", function.name or "")
        call.name = call.name or function.name or ""
        if function.arguments:
            call.arguments.append(function.arguments)
            self._ready.append(ToolCallArgs(call.id, function.arguments))

    def _new_call(self, given_id: str, name: str) -> _Call:
        taken = {call.id for call in self._all_calls}
        is_own = not given_id or given_id in taken
        call_id = new_call_id(len(self._all_calls)) if is_own else given_id
        call = _Call(given_id, call_id, name, [])
        self._all_calls.append(call)
        self._ready.append(ToolCallStart(call.id, name))
        return call

    def _close(self, otherwise: ProviderError) -> None:
        if self.finished:
            return
        if self._reason is None:
            self._fail(otherwise)
            return
        self._end_reasoning()
        for call in self._all_calls:
            arguments = "".join(call.arguments) or "{}"
            self._ready.append(ToolCallEnd(call.id, call.name, arguments))
        if self._usage is not None:
            self._ready.append(self._usage)
        reason = "tool_use" if self._all_calls else _REASONS.get(self._reason, "unknown")
        self._ready.append(StreamEnd(reason))
        self.finished = True

    def _end_reasoning(self) -> None:
        if self._reasoning:
            self._reasoning = False
            self._ready.append(ReasoningEnd())

    def _fail(self, error: ProviderError) -> None:
        if not self.finished:
            self._ready.append(error)
            self.finished = True


def _usage(usage: _Usage) -> Usage:
    prompt = usage.prompt_tokens or 0
    details = usage.prompt_tokens_details or _PromptDetails()
    cached = min(details.cached_tokens or 0, prompt)
    completion = usage.completion_tokens_details or _CompletionDetails()
    return Usage(
        input=prompt - cached,
        output=usage.completion_tokens or 0,
        cache_read=cached,
        reasoning=completion.reasoning_tokens or 0,
        cost=usage.cost if isinstance(usage.cost, int | float) else None,
    )
