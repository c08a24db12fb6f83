"""The chat-completions form, inbound: what the events of a stream say. Sans I/O.

How a stream is read is in ``answer``. Rules are those of agent contract 1.23 and wire contract 6.6.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from crush_trio.ids import new_call_id
from crush_trio.messages import FinishReason
from crush_trio.providers.answer import AnswerReader
from crush_trio.providers.base import (
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from crush_trio.providers.failures import error_in_stream

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


class ChatReader(AnswerReader):
    """Reads one answer; see :class:`.AnswerReader`."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, _Call] = {}
        self._all_calls: list[_Call] = []
        self._reasoning = False

    def _event(self, line: bytes) -> None:
        if line == b"[DONE]":
            self.end()
            return
        chunk = _DECODER.decode(line)
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

    def _conclude(self, reason: str) -> FinishReason:
        self._end_reasoning()
        for call in self._all_calls:
            arguments = "".join(call.arguments) or "{}"
            self._ready.append(ToolCallEnd(call.id, call.name, arguments))
        return "tool_use" if self._all_calls else _REASONS.get(reason, "unknown")

    def _end_reasoning(self) -> None:
        if self._reasoning:
            self._reasoning = False
            self._ready.append(ReasoningEnd())


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
