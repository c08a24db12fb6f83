"""Messages as clients see them (wire contract 6.1), and the way there from the stored form.

The stored form has fields that never cross the wire; the rules for leaving out empty ones differ
from type to type and are the wire contract's.
"""

from __future__ import annotations

import msgspec

from crush_trio.messages import (
    BinaryPart,
    FinishPart,
    ImageURLPart,
    Message,
    Part,
    ReasoningPart,
    Role,
    ShellCommandPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)


class WireReasoning(msgspec.Struct, frozen=True):
    """Reasoning without the provider's private data."""

    thinking: str
    signature: str
    started_at: int | msgspec.UnsetType = msgspec.UNSET
    finished_at: int | msgspec.UnsetType = msgspec.UNSET


class WireToolCall(msgspec.Struct, frozen=True):
    """A tool call; ``finished`` is left out while false."""

    id: str
    name: str
    input: str
    finished: bool | msgspec.UnsetType = msgspec.UNSET


class WireToolResult(msgspec.Struct, frozen=True):
    """A tool result; media keys are left out when empty."""

    tool_call_id: str
    name: str
    content: str
    data: str | msgspec.UnsetType = msgspec.UNSET
    mime_type: str | msgspec.UnsetType = msgspec.UNSET
    metadata: str = ""
    is_error: bool = False


class WireReasoningPart(msgspec.Struct, frozen=True, tag="reasoning"):
    """A reasoning part on the wire."""

    data: WireReasoning


class WireToolCallPart(msgspec.Struct, frozen=True, tag="tool_call"):
    """A tool call part on the wire."""

    data: WireToolCall


class WireToolResultPart(msgspec.Struct, frozen=True, tag="tool_result"):
    """A tool result part on the wire."""

    data: WireToolResult


WirePart = (
    TextPart
    | WireReasoningPart
    | WireToolCallPart
    | WireToolResultPart
    | BinaryPart
    | ImageURLPart
    | ShellCommandPart
    | FinishPart
)


class WireMessage(msgspec.Struct, frozen=True):
    """One message; ``parts`` is printed first and is never absent (wire contract 3.10)."""

    parts: tuple[WirePart, ...] = ()
    id: str = ""
    role: Role | str = ""
    session_id: str = ""
    model: str = ""
    provider: str = ""
    created_at: int = 0
    updated_at: int = 0
    is_summary_message: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def text(self) -> str:
        """The first text part's text."""
        return next((part.data.text for part in self.parts if isinstance(part, TextPart)), "")

    @property
    def finished(self) -> bool:
        """Whether it has its finish part."""
        return any(isinstance(part, FinishPart) for part in self.parts)


def wire_message(message: Message) -> WireMessage:
    """Return a stored message in its wire form."""
    return WireMessage(
        tuple(map(_wire_part, message.parts)),
        message.id,
        message.role,
        message.session_id,
        message.model,
        message.provider,
        message.created_at,
        message.updated_at,
        message.is_summary_message or msgspec.UNSET,
    )


def _wire_part(part: Part) -> WirePart:
    match part:
        case ReasoningPart(data):
            return WireReasoningPart(
                WireReasoning(data.thinking, data.signature, data.started_at, data.finished_at)
            )
        case ToolCallPart(data):
            finished = data.finished or msgspec.UNSET
            return WireToolCallPart(WireToolCall(data.id, data.name, data.input, finished))
        case ToolResultPart(data):
            return WireToolResultPart(
                WireToolResult(
                    data.tool_call_id,
                    data.name,
                    data.content,
                    data.data or msgspec.UNSET,
                    data.mime_type or msgspec.UNSET,
                    data.metadata,
                    data.is_error,
                )
            )
        case _:
            return part
