"""What is done for runs that a dead process left behind (C1, agent contract 0.0 and 1.17).

Only messages that our journal names are touched. Another program may be writing any other
unfinished one right now.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from crush_trio.errors import StoreError
from crush_trio.ids import MessageID, new_id
from crush_trio.messages import (
    STOP,
    Finish,
    FinishPart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    Text,
    TextPart,
    ToolCall,
    ToolCallPart,
    ToolResult,
    ToolResultPart,
    decode_parts,
)
from crush_trio.store import journal, messages
from crush_trio.store.database import WriteConnection
from crush_trio.store.journal import Increment, JournalPart

logger = logging.getLogger(__name__)

TITLE = "Interrupted"
DETAILS = "the server stopped before this answer was finished"
_RESULTS_BEHIND = """\
SELECT parts FROM messages WHERE session_id = ? AND role = 'tool'
AND rowid > (SELECT rowid FROM messages WHERE id = ?)"""

TOOL_ERROR = "There was an error while executing the tool"
"""Content of a result that nobody is left to give; clients recognise it (agent contract 1.17)."""


def settle_interrupted(writing: WriteConnection) -> None:
    """Finish every message that the journal names, inside the open transaction."""
    for message_id, increments in journal.unfinished(writing).items():
        try:
            _settle(writing, message_id, increments)
        except StoreError:  # one that cannot be read must not keep the others from being opened
            logger.exception("the interrupted message %s stays as it is", message_id)
            journal.forget(writing, message_id)


def _settle(
    writing: WriteConnection, message_id: MessageID, increments: Sequence[Increment]
) -> None:
    message = messages.find(writing.connection, message_id)
    if message is None or message.finish is not None:
        # Finished by another program, or deleted by one that does not enforce foreign keys.
        journal.forget(writing, message_id)
        return
    # The last sign of life, not today: a client shows how long an answer took.
    ended = max(message.updated_at, *(increment.written_at for increment in increments))
    parts = close_parts(merge(message.parts, increments), ended)
    message = msgspec.structs.replace(message, parts=parts)
    messages.update(writing, message, streaming=False)
    answered = _answered(writing, message)
    for call in message.tool_calls:
        if call.id not in answered:
            messages.create(writing, _no_result(message, call, ended))


def merge(parts: tuple[Part, ...], increments: Sequence[Increment]) -> tuple[Part, ...]:
    """Return parts with the journalled text that lies beyond what they hold."""
    for kind in ("reasoning", "text"):
        held = _held(parts, kind)
        full = _extend(held, (one for one in increments if one.part == kind))
        if full != held:
            parts = _with(parts, kind, full)
    return parts


def _extend(text: str, increments: Iterable[Increment]) -> str:
    for increment in increments:
        if increment.offset > len(text):
            break  # what lay between was never stored: keep what is certain
        text += increment.text[len(text) - increment.offset :]
    return text


def _held(parts: tuple[Part, ...], kind: JournalPart) -> str:
    for part in parts:
        if kind == "text" and isinstance(part, TextPart):
            return part.data.text
        if kind == "reasoning" and isinstance(part, ReasoningPart):
            return part.data.thinking
    return ""


def _with(parts: tuple[Part, ...], kind: JournalPart, full: str) -> tuple[Part, ...]:
    """Return parts whose first one of a kind holds the full text; a new one goes in order."""
    wanted = TextPart if kind == "text" else ReasoningPart
    place = next((at for at, part in enumerate(parts) if isinstance(part, wanted)), None)
    if place is None:
        place = sum(isinstance(part, ReasoningPart) for part in parts) if kind == "text" else 0
        new: Part = TextPart(Text(full)) if kind == "text" else ReasoningPart(Reasoning(full))
        return (*parts[:place], new, *parts[place:])
    match parts[place]:
        case ReasoningPart(data):
            new = ReasoningPart(msgspec.structs.replace(data, thinking=full))
        case _:
            new = TextPart(Text(full))
    return (*parts[:place], new, *parts[place + 1 :])


def close_parts(parts: tuple[Part, ...], ended: int) -> tuple[Part, ...]:
    """Return parts with reasoning and tool calls closed, and the finish of an interrupted run."""
    finish = Finish("error", ended, TITLE, DETAILS)
    return (*(_closed(part, ended) for part in parts), FinishPart(finish))


def _closed(part: Part, ended: int) -> Part:
    match part:
        case ReasoningPart(data) if not data.finished_at:
            return ReasoningPart(msgspec.structs.replace(data, finished_at=ended))
        case ToolCallPart(data) if not data.finished:
            return ToolCallPart(msgspec.structs.replace(data, input="{}", finished=True))
        case _:
            return part


def _answered(writing: WriteConnection, message: Message) -> set[str]:
    """Return the ids of the tool calls whose results are stored."""
    return {result.tool_call_id for result in _results(writing, message)}


def _results(writing: WriteConnection, message: Message) -> Iterator[ToolResult]:
    """Yield what was answered behind a message: some models number their calls anew in each step."""
    rows = writing.execute(_RESULTS_BEHIND, (message.session_id, message.id))
    for (parts,) in rows.fetchall():
        try:
            decoded = decode_parts(parts)
        except msgspec.DecodeError:
            continue  # another program's; it answers no call of ours
        yield from (part.data for part in decoded if isinstance(part, ToolResultPart))


def _no_result(message: Message, call: ToolCall, now: int) -> Message:
    """Return the tool message that answers a call for which nobody is left (R9)."""
    result = ToolResult(call.id, call.name, TOOL_ERROR, is_error=True)
    return Message(
        MessageID(new_id()),
        message.session_id,
        "tool",
        (ToolResultPart(result), STOP),
        created_at=now,
        updated_at=now,
    )
