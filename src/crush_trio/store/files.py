"""Versions of files that tools changed, and when tools read files (agent contract 4.2 and 4.6)."""

from __future__ import annotations

import sqlite3

from crush_trio.ids import SessionID
from crush_trio.store import sessions
from crush_trio.store.database import WriteConnection
from crush_trio.wire.events import Event, File

_COLUMNS = "SELECT id, session_id, path, content, version, created_at, updated_at FROM files "
_OF_SESSION = _COLUMNS + "WHERE session_id = ? ORDER BY version, created_at, rowid"
_LATEST = _COLUMNS + "WHERE session_id = ? AND path = ? ORDER BY version DESC LIMIT 1"

_READ = "INSERT OR REPLACE INTO read_files (session_id, path, read_at) VALUES (?, ?, ?)"
"""Replaced, not updated: a new rowid tells which of two reads in one second was the later."""

_PATHS = """\
SELECT path FROM read_files WHERE session_id = ? AND path LIKE '/%'
ORDER BY read_at DESC, rowid DESC"""


# --- reads -----------------------------------------------------------------------


def of_session(connection: sqlite3.Connection, session_id: SessionID) -> list[File]:
    """Return a session's file versions, the lowest version first."""
    return [File(*row) for row in connection.execute(_OF_SESSION, (session_id,)).fetchall()]


def latest(connection: sqlite3.Connection, session_id: SessionID, path: str) -> File | None:
    """Return the highest version of a file in a session, or None."""
    row = connection.execute(_LATEST, (session_id, path)).fetchone()
    return None if row is None else File(*row)


def last_read(connection: sqlite3.Connection, session_id: SessionID, path: str) -> int | None:
    """Return when a session last read a file, in unix seconds, or None if it never did."""
    query = "SELECT read_at FROM read_files WHERE session_id = ? AND path = ?"
    row = connection.execute(query, (session_id, path)).fetchone()
    return None if row is None else row[0]


def read_paths(connection: sqlite3.Connection, session_id: SessionID) -> list[str]:
    """Return the files that a session read, the latest first.

    Relative paths are Crush's own and meant for a process that is gone: they are left out.
    """
    return [path for (path,) in connection.execute(_PATHS, (session_id,)).fetchall()]


# --- writes -----------------------------------------------------------------------


def record_read(
    writing: WriteConnection, session_id: SessionID, path: str, modified: int
) -> tuple[None, Event | None]:
    """Note that a session read a file now, or when it was modified if that is later."""
    sessions.require(writing.connection, session_id)
    writing.execute(_READ, (session_id, path, max(writing.now, modified)))
    return None, None


def add_version(
    writing: WriteConnection, file_id: str, session_id: SessionID, path: str, content: str
) -> tuple[File, Event]:
    """Insert the next version of a file: 0 if it is the session's first of it.

    Later ones are one above the highest of any session (agent contract 4.6).
    """
    sessions.require(writing.connection, session_id)
    first = latest(writing.connection, session_id, path) is None
    query = "SELECT coalesce(max(version) + 1, 0) FROM files WHERE path = ?"
    version = 0 if first else writing.execute(query, (path,)).fetchone()[0]
    file = File(file_id, session_id, path, content, version, writing.now, writing.now)
    writing.execute(
        "INSERT INTO files (id, session_id, path, content, version, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (file_id, session_id, path, content, version, writing.now, writing.now),
    )
    return file, Event("file", "created", file)
