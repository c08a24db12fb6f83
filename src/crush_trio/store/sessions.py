"""Sessions as rows (agent contract 4.2 and 4.7)."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from crush_trio.errors import StoreError, UnknownSessionError
from crush_trio.ids import MessageID, SessionID
from crush_trio.store.database import WriteConnection
from crush_trio.wire.events import Change, Event, session_event
from crush_trio.wire.sessions import Session, Todo

Todos = tuple[Todo, ...] | None | msgspec.UnsetType

_ONE = """\
SELECT id, parent_session_id, title, message_count, prompt_tokens, completion_tokens,
    summary_message_id, cost, todos, created_at, updated_at
FROM sessions WHERE id = ?"""

_TOP_LEVEL = """\
SELECT id, parent_session_id, title, message_count, prompt_tokens, completion_tokens,
    summary_message_id, cost, todos, created_at, updated_at
FROM sessions WHERE parent_session_id IS NULL OR parent_session_id = ''
ORDER BY updated_at DESC, rowid DESC"""

_INSERT = """\
INSERT INTO sessions (id, parent_session_id, title, created_at, updated_at)
VALUES (?, ?, ?, ?, ?)"""

_RENAME = """\
UPDATE sessions SET title = ?, cost = max(coalesce(?, cost), cost), todos = iif(?, ?, todos)
WHERE id = ?"""

_SET_TODOS = "UPDATE sessions SET todos = ? WHERE id = ?"

_SET_SUMMARY = """\
UPDATE sessions SET summary_message_id = ?, prompt_tokens = 0, completion_tokens = ?,
    cost = cost + ?
WHERE id = ?"""

_SET_TITLE = """\
UPDATE sessions SET title = iif(? IN ('', title), ?, title), prompt_tokens = prompt_tokens + ?,
    completion_tokens = completion_tokens + ?, cost = cost + ?
WHERE id = ?"""

_ADD_USAGE = """\
UPDATE sessions SET prompt_tokens = coalesce(nullif(?, 0), prompt_tokens),
    completion_tokens = coalesce(nullif(?, 0), completion_tokens), cost = cost + ?
WHERE id = ?"""

_ENCODER = msgspec.json.Encoder()
_TODOS = msgspec.json.Decoder(tuple[Todo, ...] | None)


# --- reads -----------------------------------------------------------------------


def find(connection: sqlite3.Connection, session_id: SessionID) -> Session | None:
    """Return a session, a child as well, or None."""
    row = connection.execute(_ONE, (session_id,)).fetchone()
    return None if row is None else _session(row)


def top_level(connection: sqlite3.Connection) -> list[Session]:
    """Return the sessions without a parent, the one changed last first."""
    return [_session(row) for row in connection.execute(_TOP_LEVEL).fetchall()]


def require(connection: sqlite3.Connection, session_id: SessionID) -> Session:
    """Return a session.

    Raises:
        UnknownSessionError: there is none with this id.
    """
    session = find(connection, session_id)
    if session is None:
        raise UnknownSessionError(session_id)
    return session


def _session(row: tuple[Any, ...]) -> Session:
    id_, parent, title, messages, prompt, completion, summary, cost, todos, created, updated = row
    try:
        decoded = _TODOS.decode(todos) if todos else ()
    except msgspec.DecodeError as error:
        raise StoreError(f"the todos of session {id_!r} cannot be read: {error}") from error
    return Session(
        id_,
        parent or "",
        title,
        messages,
        prompt,
        completion,
        summary or "",
        cost,
        decoded or msgspec.UNSET,
        created,
        updated,
    )


# --- writes -----------------------------------------------------------------------


def create(
    writing: WriteConnection, session_id: SessionID, parent: str, title: str
) -> tuple[Session, Event]:
    """Insert a session."""
    values = (session_id, parent or None, title, writing.now, writing.now)
    writing.execute(_INSERT, values)
    return _reported("created", writing, session_id)


def rename(
    writing: WriteConnection, session_id: SessionID, title: str, todos: Todos, cost: float | None
) -> tuple[Session, Event]:
    """Set what a user may set; counters and the summary stay (wire contract R-17).

    Costs only add up: a client that renames sends the cost that it knows, and a run may have added
    to it since.
    """
    given = not isinstance(todos, msgspec.UnsetType)
    encoded = _encoded(todos) if given and todos else None
    writing.execute(_RENAME, (title, cost, given, encoded, session_id))
    return _reported("updated", writing, session_id)


def set_todos(
    writing: WriteConnection, session_id: SessionID, todos: tuple[Todo, ...]
) -> tuple[tuple[Todo, ...], Event]:
    """Replace a session's todos; the value is what they were (agent contract 2.24)."""
    before = require(writing.connection, session_id).todos
    writing.execute(_SET_TODOS, (_encoded(todos) if todos else None, session_id))
    _, event = _reported("updated", writing, session_id)
    return before or (), event


def set_summary(
    writing: WriteConnection, session_id: SessionID, message_id: MessageID, usage: tuple[int, float]
) -> tuple[Session, Event]:
    """Let a message stand for all before it: it is what the context begins with (agent 1.15)."""
    writing.execute(_SET_SUMMARY, (message_id, *usage, session_id))
    return _reported("updated", writing, session_id)


def set_title(
    writing: WriteConnection,
    session_id: SessionID,
    title: str,
    usage: tuple[int, int, float],
    instead_of: str,
) -> tuple[Session, Event]:
    """Set a title that was made, and add what making it used (agent contract 1.13).

    A session that is not called ``instead_of`` any more has been renamed meanwhile and keeps its
    name; an empty one replaces any title.
    """
    writing.execute(_SET_TITLE, (instead_of, title, *usage, session_id))
    return _reported("updated", writing, session_id)


def add_usage(
    writing: WriteConnection, session_id: SessionID, usage: tuple[int, int, float]
) -> tuple[Session, Event]:
    """Replace the counters by those that are not zero, and add the cost (agent contract 1.14)."""
    writing.execute(_ADD_USAGE, (*usage, session_id))
    return _reported("updated", writing, session_id)


def delete(writing: WriteConnection, session_id: SessionID) -> tuple[Session, Event]:
    """Delete a session with all that belongs to it; child sessions stay (wire contract 0)."""
    session = require(writing.connection, session_id)
    writing.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
    return session, session_event("deleted", session)


def _encoded(todos: tuple[Todo, ...] | msgspec.UnsetType | None) -> str:
    return _ENCODER.encode(todos).decode()


def _reported(
    change: Change, writing: WriteConnection, session_id: SessionID
) -> tuple[Session, Event]:
    """Return a session as it stands now, and the event that tells so."""
    session = require(writing.connection, session_id)
    return session, session_event(change, session)
