"""Messages and their parts, as Crush stores them (agent contract 4.4).

Parts are pure values; identity and time belong to the message. The stored form has a few fields
that never cross the wire; ``wire.messages`` has the other form and the way there. Nothing here
does I/O.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Literal

import attrs
import msgspec

from crush_trio.ids import MessageID, SessionID

Role = Literal["user", "assistant", "tool", "system"]
FinishReason = Literal[
    "end_turn", "max_tokens", "tool_use", "canceled", "error", "content_filter", "unknown", "stop"
]


class Text(msgspec.Struct, frozen=True):
    """What was said."""

    text: str = ""


class Reasoning(msgspec.Struct, frozen=True):
    """What a model thought before it spoke; provider data is kept for replay.

    Attributes:
        signature: The vendor's own, if one stands for all of the text; what Crush sends back.
        blocks: Where the reasoning was signed in several pieces, all of them as
            ``providers.thinking`` writes them. Crush passes over it.
    """

    thinking: str = ""
    signature: str = ""
    thought_signature: str = ""
    tool_id: str = ""
    responses_data: Any = None
    started_at: int | msgspec.UnsetType = msgspec.UNSET
    finished_at: int | msgspec.UnsetType = msgspec.UNSET
    blocks: str | msgspec.UnsetType = msgspec.UNSET


class ToolCall(msgspec.Struct, frozen=True):
    """A model's request to run a tool; ``input`` is JSON text."""

    id: str = ""
    name: str = ""
    input: str = ""
    provider_executed: bool = False
    finished: bool = False


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool answered; ``metadata`` is JSON text, ``data`` base64 media."""

    tool_call_id: str = ""
    name: str = ""
    content: str = ""
    data: str = ""
    mime_type: str = ""
    metadata: str = ""
    is_error: bool = False


class Binary(msgspec.Struct, frozen=True, rename="pascal"):
    """An attached file. Keys are capitalised in every form."""

    path: str = ""
    mime_type: str = msgspec.field(name="MIMEType", default="")
    data: bytes | None = None


class ImageURL(msgspec.Struct, frozen=True, omit_defaults=True):
    """A picture by address. Crush knows it and does not make it."""

    url: str
    detail: str = ""


class ShellCommand(msgspec.Struct, frozen=True):
    """A command that a user ran, with what it printed."""

    command: str = ""
    output: str = ""
    exit_code: int = 0


class Finish(msgspec.Struct, frozen=True):
    """How a message ended; ``time`` is unix seconds.

    We write a :data:`FinishReason`. What other versions of Crush have written may have reasons
    that are gone (``permission_denied``) or not known yet, and its clients take any.
    """

    reason: FinishReason | str
    time: int = 0
    message: str | msgspec.UnsetType = msgspec.UNSET
    details: str | msgspec.UnsetType = msgspec.UNSET


class TextPart(msgspec.Struct, frozen=True, tag="text"):
    """A text part."""

    data: Text


class ReasoningPart(msgspec.Struct, frozen=True, tag="reasoning"):
    """A reasoning part."""

    data: Reasoning


class ToolCallPart(msgspec.Struct, frozen=True, tag="tool_call"):
    """A tool call part."""

    data: ToolCall


class ToolResultPart(msgspec.Struct, frozen=True, tag="tool_result"):
    """A tool result part."""

    data: ToolResult


class BinaryPart(msgspec.Struct, frozen=True, tag="binary"):
    """An attachment part."""

    data: Binary


class ImageURLPart(msgspec.Struct, frozen=True, tag="image_url"):
    """A picture part."""

    data: ImageURL


class ShellCommandPart(msgspec.Struct, frozen=True, tag="shell_command"):
    """A shell command part."""

    data: ShellCommand


class FinishPart(msgspec.Struct, frozen=True, tag="finish"):
    """The part that says a message is complete; always the last one."""

    data: Finish


Part = (
    TextPart
    | ReasoningPart
    | ToolCallPart
    | ToolResultPart
    | BinaryPart
    | ImageURLPart
    | ShellCommandPart
    | FinishPart
)

STOP = FinishPart(Finish("stop"))
"""The last part of every message that is not from the assistant (agent contract 4.4)."""


class Message(msgspec.Struct, frozen=True):
    """One stored message. Times are unix seconds."""

    id: MessageID
    session_id: SessionID
    role: Role
    parts: tuple[Part, ...] = ()
    model: str = ""
    provider: str = ""
    created_at: int = 0
    updated_at: int = 0
    is_summary_message: bool = False

    @property
    def text(self) -> str:
        """The first text part's text, which is what clients show as the answer."""
        return next((part.data.text for part in self.parts if isinstance(part, TextPart)), "")

    @property
    def finish(self) -> Finish | None:
        """The finish part's content, or None while the message is being written."""
        return next((part.data for part in self.parts if isinstance(part, FinishPart)), None)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls in the order in which the model made them."""
        return tuple(part.data for part in self.parts if isinstance(part, ToolCallPart))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results, one for each answered call."""
        return tuple(part.data for part in self.parts if isinstance(part, ToolResultPart))


@attrs.frozen(slots=False)
class Prompt:
    """What a user sent, and how it is to be answered.

    Attributes:
        local_model: The embedded model may answer if the workspace has no agent.
        interactive: Whether somebody can be asked questions; None if the caller did not say.
        model: The model that answers, as ``model`` or ``provider/model``; empty for the selected one.
    """

    text: str
    attachments: tuple[Binary, ...] = ()
    local_model: bool = False
    interactive: bool | None = None
    model: str = ""

    @cached_property
    def fingerprint(self) -> bytes:
        """A digest of all that the user sent, to recognise the same prompt (R16)."""
        texts = [self.text, self.model]
        for attachment in self.attachments:
            texts += (attachment.path, attachment.mime_type)
        pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
        pieces += (attachment.data or b"" for attachment in self.attachments)
        digest = hashlib.sha256()
        for piece in pieces:  # each with its length, so that none can pass for part of another
            digest.update(len(piece).to_bytes(8))
            digest.update(piece)
        return digest.digest()


def encodable(text: str) -> str:
    """Return ``text`` with a ``?`` for each half of a surrogate pair, which no store or wire takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(tuple[Part, ...])


def encode_parts(parts: tuple[Part, ...]) -> str:
    """Return parts as the JSON text of Crush's ``messages.parts`` column."""
    return _ENCODER.encode(parts).decode()


def decode_parts(text: str | bytes) -> tuple[Part, ...]:
    """Return the parts of a ``messages.parts`` column.

    Raises:
        msgspec.ValidationError: a part has an unknown type or a wrong shape.
    """
    return _DECODER.decode(text)
