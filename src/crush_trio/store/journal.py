"""The journal: which messages of ours are unfinished, and their text since they were last stored.

Rule 1: a message is named, by a row without text, in the transaction that creates it, and its rows
go in the one that finishes it. So what is named at the next open was interrupted, and is ours:
another program's unfinished message is never named (C1).

Rule 2: whoever stores a message's parts stores all that was said so far. Increments that came
before are then worthless, and would bring back what a retry has withdrawn.
"""

from __future__ import annotations

from typing import Literal

import attrs

from crush_trio.errors import StoreError
from crush_trio.ids import MessageID
from crush_trio.store.database import WriteConnection

JournalPart = Literal["text", "reasoning"]

_APPEND = """\
INSERT INTO crush_trio_journal (message_id, part, position, text, written_at)
SELECT ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM crush_trio_journal WHERE message_id = ?)"""
"""One look into the index, however much of the message is in the journal already."""


@attrs.frozen
class Increment:
    """Text that was streamed.

    Attributes:
        offset: Where it begins, in characters from the beginning of its part.
        written_at: Unix seconds.
    """

    part: JournalPart
    offset: int
    text: str
    written_at: int


def name(writing: WriteConnection, message_id: MessageID) -> None:
    """Name a message as unfinished."""
    writing.execute(
        "INSERT INTO crush_trio_journal VALUES (?, 'text', 0, '', ?)", (message_id, writing.now)
    )


def append(
    writing: WriteConnection, message_id: MessageID, part: JournalPart, offset: int, text: str
) -> None:
    """Add text that was streamed.

    Raises:
        StoreError: the message is not an unfinished one of ours.
    """
    if not text:
        return
    values = (message_id, part, offset, text, writing.now, message_id)
    added = writing.execute(_APPEND, values)
    if added.rowcount != 1:
        raise StoreError(f"message {message_id!r} is not being written, its text is not kept")


def shorten(writing: WriteConnection, message_id: MessageID) -> None:
    """Drop the increments of a message whose parts were just stored (rule 2)."""
    writing.execute(
        "DELETE FROM crush_trio_journal WHERE message_id = ? AND text <> ''", (message_id,)
    )


def forget(writing: WriteConnection, message_id: MessageID) -> None:
    """Drop a message that is finished."""
    writing.execute("DELETE FROM crush_trio_journal WHERE message_id = ?", (message_id,))


def unfinished(writing: WriteConnection) -> dict[MessageID, list[Increment]]:
    """Return the named messages in the order of their creation, each with its increments."""
    found: dict[MessageID, list[Increment]] = {}
    rows = writing.execute(
        "SELECT message_id, part, position, text, written_at FROM crush_trio_journal ORDER BY rowid"
    )
    for message_id, *increment in rows.fetchall():
        found.setdefault(message_id, []).append(Increment(*increment))
    return found
