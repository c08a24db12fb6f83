"""The form of Anthropic's Messages API, inbound: what the events of a stream say. Sans I/O.

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
from crush_trio.providers.thinking import ThinkingBlock, joined_signature

_REASONS: dict[str, FinishReason] = {
    "end_turn": "end_turn",
    "pause_turn": "end_turn",
    "stop_sequence": "end_turn",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "tool_use": "tool_use",
    "refusal": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}

# --- what an event looks like -----------------------------------------------------------


class _Block(msgspec.Struct):
    type: str = ""
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class _Change(msgspec.Struct):
    """What is new in a block, or of the message as a whole."""

    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Message(msgspec.Struct):
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Change | None = None
    usage: _Usage | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_Event, strict=False)

# --- the reader -----------------------------------------------------------------------------


@attrs.define(eq=False)
class _Call:
    """A tool call while its pieces come in."""

    id: str
    name: str
    given: str
    fragments: list[str] = attrs.field(factory=list[str])

    @property
    def arguments(self) -> str:
        return "".join(self.fragments) or self.given


@attrs.define(eq=False)
class _Thought:
    """A block of reasoning while its pieces come in."""

    size: int = 0
    signature: str = ""
    redacted: str = ""


class MessagesReader(AnswerReader):
    """Reads one answer; see :class:`.AnswerReader`."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, _Call | _Thought] = {}
        self._calls = 0
        self._thoughts: list[ThinkingBlock] = []

    def _event(self, line: bytes) -> None:
        event = _DECODER.decode(line)
        if event.error or event.type == "error":
            self._fail(error_in_stream(event.error))
            return
        self._count(event.usage or (event.message and event.message.usage))
        match event:
            case _Event(type="content_block_start", content_block=_Block() as block):
                self._start(event.index, block)
            case _Event(type="content_block_delta", delta=_Change() as change):
                self._grow(event.index, change)
            case _Event(type="content_block_stop"):
                self._stop(event.index)
            case _Event(type="message_delta", delta=_Change(stop_reason=str(reason))):
                self._reason = reason
            case _Event(type="message_stop"):
                self.end()
            case _:
                pass  # a ping, or what is yet to be invented

    def _start(self, index: int, block: _Block) -> None:
        match block.type:
            case "tool_use":
                call_id = block.id or new_call_id(self._calls)
                self._calls += 1
                call = _Call(call_id, block.name or "", bytes(block.input).decode() or "{}")
                self._open[index] = call
                self._ready.append(ToolCallStart(call.id, call.name))
            case "thinking" | "redacted_thinking":
                self._open[index] = _Thought(redacted=block.data or "")
            case _:
                pass
        self._grow(index, _Change(block.text, block.thinking, block.signature))

    def _grow(self, index: int, change: _Change) -> None:
        block = self._open.get(index)
        if change.text:
            self._ready.append(TextDelta(change.text))
        if isinstance(block, _Thought):
            if change.thinking:
                block.size += len(change.thinking)
                self._ready.append(ReasoningDelta(change.thinking))
            block.signature += change.signature or ""
        elif isinstance(block, _Call) and change.partial_json:
            block.fragments.append(change.partial_json)
            self._ready.append(ToolCallArgs(block.id, change.partial_json))

    def _stop(self, index: int) -> None:
        match self._open.pop(index, None):
            case _Call() as call:
                self._ready.append(ToolCallEnd(call.id, call.name, call.arguments))
            case _Thought(size=size, signature=signature, redacted=redacted):
                self._thoughts.append(ThinkingBlock(size, signature, redacted))
                self._ready.append(ReasoningEnd(joined_signature(self._thoughts)))
            case None:
                pass

    def _count(self, usage: _Usage | None) -> None:
        """Take what is said of the tokens; later numbers are totals and replace earlier ones."""
        if usage is None:
            return
        known = self._usage or Usage()
        details = usage.output_tokens_details or _OutputDetails()
        self._usage = Usage(
            input=usage.input_tokens or known.input,
            output=usage.output_tokens or known.output,
            cache_creation=usage.cache_creation_input_tokens or known.cache_creation,
            cache_read=usage.cache_read_input_tokens or known.cache_read,
            reasoning=details.thinking_tokens or known.reasoning,
        )

    def _conclude(self, reason: str) -> FinishReason:
        for index in list(self._open):
            self._stop(index)
        return _REASONS.get(reason, "unknown")
