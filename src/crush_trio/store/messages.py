"""Messages as rows (agent contract 4.2, 4.4 and 4.5)."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from crush_trio.errors import StoreError
from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import Message, decode_parts, encode_parts
from crush_trio.store import journal, sessions
from crush_trio.store.database import WriteConnection
from crush_trio.wire.events import Event, message_event

_COLUMNS = """\
SELECT id, session_id, role, parts, model, provider, created_at, updated_at, is_summary_message
FROM messages """

_ONE = _COLUMNS + "WHERE id = ?"
_OF_SESSION = _COLUMNS + "WHERE session_id = ? ORDER BY created_at, rowid"
_BY_USER = _COLUMNS + "WHERE role = 'user' ORDER BY created_at DESC, rowid DESC"
_BY_USER_OF_SESSION = (
    _COLUMNS + "WHERE session_id = ? AND role = 'user' ORDER BY created_at DESC, rowid DESC"
)

_INSERT = """\
INSERT INTO messages (id, session_id, role, parts, model, created_at, updated_at, finished_at,
    provider, is_summary_message)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_UPDATE = "UPDATE messages SET parts = ?, finished_at = ? WHERE id = ?"


# --- reads -----------------------------------------------------------------------


def find(connection: sqlite3.Connection, message_id: MessageID) -> Message | None:
    """Return a message or None."""
    row = connection.execute(_ONE, (message_id,)).fetchone()
    return None if row is None else _message(row)


def of_session(connection: sqlite3.Connection, session_id: SessionID) -> list[Message]:
    """Return a session's messages, oldest first, those of one second as they were inserted."""
    return [_message(row) for row in connection.execute(_OF_SESSION, (session_id,)).fetchall()]


def by_user(connection: sqlite3.Connection, session_id: SessionID | None) -> list[Message]:
    """Return what users wrote, in one session or in all, newest first."""
    if session_id is None:
        rows = connection.execute(_BY_USER)
    else:
        rows = connection.execute(_BY_USER_OF_SESSION, (session_id,))
    return [_message(row) for row in rows.fetchall()]


def _message(row: tuple[Any, ...]) -> Message:
    id_, session_id, role, parts, model, provider, created, updated, summary = row
    try:
        decoded = decode_parts(parts)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"message {id_!r} of session {session_id!r} cannot be read: {error}"
        ) from error
    return Message(
        id_, session_id, role, decoded, model or "", provider or "", created, updated, bool(summary)
    )


# --- writes -----------------------------------------------------------------------


def create(writing: WriteConnection, message: Message) -> tuple[None, Event]:
    """Insert a message; one that is still to be written is named in the journal (C1)."""
    sessions.require(writing.connection, message.session_id)
    finish = message.finish
    values = (
        message.id,
        message.session_id,
        message.role,
        encode_parts(message.parts),
        message.model,
        message.created_at,
        message.updated_at,
        (finish and finish.time) or None,
        message.provider or None,
        message.is_summary_message,
    )
    writing.execute(_INSERT, values)
    if message.role == "assistant" and finish is None:
        journal.name(writing, message.id)
    return None, message_event("created", message)


def update(writing: WriteConnection, message: Message, *, streaming: bool) -> tuple[None, Event]:
    """Store a message's newest parts; a finish takes its journal away."""
    finish = message.finish
    changed = writing.execute(
        _UPDATE, (encode_parts(message.parts), finish and finish.time, message.id)
    )
    if changed.rowcount != 1:
        raise StoreError(f"message {message.id!r} is not in the store, it cannot be updated")
    if finish is None:
        journal.shorten(writing, message.id)
    else:
        journal.forget(writing, message.id)
    return None, message_event("updated", message, streaming=streaming)


def delete(writing: WriteConnection, message_id: MessageID) -> tuple[None, Event | None]:
    """Delete a message with its journal; the event tells the message as it was."""
    message = find(writing.connection, message_id)
    if message is None:
        return None, None
    writing.execute("DELETE FROM messages WHERE id = ?", (message_id,))
    return None, message_event("deleted", message)
