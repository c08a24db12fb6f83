"""Parts whose text goes on: what grows in a part, how far two states agree, and the rest as a part.

On a delta stream a text or reasoning part of a ``message`` event may carry an ``offset``: its text
continues what the reader has of that part from that character on.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from crush_trio.messages import (
    BinaryPart,
    FinishPart,
    ImageURLPart,
    ShellCommandPart,
    Text,
    TextPart,
)
from crush_trio.wire.messages import (
    WireMessage,
    WirePart,
    WireReasoning,
    WireReasoningPart,
    WireToolCallPart,
    WireToolResultPart,
)


class TailText(Text, frozen=True):
    """A text from character ``offset`` on; a whole one where there is no offset."""

    offset: int | msgspec.UnsetType = msgspec.UNSET


class TailTextPart(TextPart, frozen=True, tag="text"):
    """A text part on a delta stream."""

    data: TailText


class TailReasoning(WireReasoning, frozen=True):
    """Reasoning whose ``thinking`` begins at character ``offset``; whole where there is none."""

    offset: int | msgspec.UnsetType = msgspec.UNSET


class TailReasoningPart(WireReasoningPart, frozen=True, tag="reasoning"):
    """A reasoning part on a delta stream."""

    data: TailReasoning


class TailMessage(WireMessage, frozen=True):
    """A message on a delta stream."""

    parts: tuple[
        TailTextPart
        | TailReasoningPart
        | WireToolCallPart
        | WireToolResultPart
        | BinaryPart
        | ImageURLPart
        | ShellCommandPart
        | FinishPart,
        ...,
    ] = ()


def text_of(part: WirePart | None) -> str | None:
    """Return what grows in a part; None if nothing does."""
    match part:
        case TextPart(data):
            return data.text
        case WireReasoningPart(data):
            return data.thinking
        case _:
            return None


def with_text(part: WirePart, text: str) -> WirePart:
    """Return a text or reasoning part with another text; any other part as it is."""
    match part:
        case TextPart():
            return TextPart(Text(text))
        case WireReasoningPart(data):
            return WireReasoningPart(replace(data, thinking=text))
        case _:
            return part


def overlap(had: WirePart, part: WirePart) -> int | None:
    """Return how many characters of ``part`` a reader of ``had`` has; None if it does not go on.

    A retry takes back what was said, and a reader that was slow meets only the new text.
    """
    old, new = text_of(had), text_of(part)
    if type(had) is not type(part) or old is None or new is None or not new.startswith(old):
        return None
    return len(old)


def tail(part: WirePart, offset: int) -> WirePart:
    """Return a part without the first ``offset`` characters of its text, which it tells."""
    match part:
        case TextPart(data) if offset:
            return TailTextPart(TailText(data.text[offset:], offset))
        case WireReasoningPart(data) if offset:
            rest = data.thinking[offset:]
            told = TailReasoning(rest, data.signature, data.started_at, data.finished_at, offset)
            return TailReasoningPart(told)
        case _:
            return part


def whole(part: WirePart, had: WirePart | None) -> WirePart:
    """Return a part as it is without delta streams, by what the reader has of it.

    Raises:
        msgspec.ValidationError: it continues what the reader has not.
    """
    match part:
        case TailTextPart(data):
            start = _start(had if isinstance(had, TextPart) else None, data.offset or 0)
            return TextPart(Text(start + data.text))
        case TailReasoningPart(data):
            start = _start(had if isinstance(had, WireReasoningPart) else None, data.offset or 0)
            thinking = start + data.thinking
            return WireReasoningPart(
                WireReasoning(thinking, data.signature, data.started_at, data.finished_at)
            )
        case _:
            return part


def grown(had: WirePart | None, offset: int, text: str) -> WirePart:
    """Return a part that goes on with ``text`` from character ``offset`` on.

    Raises:
        msgspec.ValidationError: it has no text, or not so much of it.
    """
    if had is None or text_of(had) is None:
        raise msgspec.ValidationError("a text goes on that never began")
    return with_text(had, _start(had, offset) + text)


def _start(had: WirePart | None, offset: int) -> str:
    text = text_of(had) or ""
    if not 0 <= offset <= len(text):
        raise msgspec.ValidationError(
            f"a text goes on at character {offset}, but the reader has {len(text)}"
        )
    return text[:offset]
