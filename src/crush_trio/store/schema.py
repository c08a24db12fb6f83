"""Crush's tables as its own migrations leave them, and the one table that is ours.

Rule 1: columns keep this order and get no neighbours. Crush reads its tables with ``SELECT *``
(agent contract 4.2), so whatever we need has to live in a table of our own.

Rule 2: a version number stands for exactly these statements. Another program on the same database
believes the version table (agent contract 4.3).
"""

from __future__ import annotations

VERSION_TABLE = """\
CREATE TABLE IF NOT EXISTS goose_db_version (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version_id INTEGER NOT NULL,
    is_applied INTEGER NOT NULL,
    tstamp TIMESTAMP DEFAULT (datetime('now'))
)"""
"""Goose's own bookkeeping. Its first row is version 0, which stands for no migration at all."""

_SESSIONS = """\
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY,
    parent_session_id TEXT,
    title TEXT NOT NULL,
    message_count INTEGER NOT NULL DEFAULT 0 CHECK (message_count >= 0),
    prompt_tokens INTEGER NOT NULL DEFAULT 0 CHECK (prompt_tokens >= 0),
    completion_tokens INTEGER NOT NULL DEFAULT 0 CHECK (completion_tokens >= 0),
    cost REAL NOT NULL DEFAULT 0.0 CHECK (cost >= 0.0),
    updated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
)"""

_FILES = """\
CREATE TABLE IF NOT EXISTS files (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    path TEXT NOT NULL,
    content TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    UNIQUE (path, session_id, version)
)"""

_MESSAGES = """\
CREATE TABLE IF NOT EXISTS messages (
    id TEXT PRIMARY KEY,
    session_id TEXT NOT NULL,
    role TEXT NOT NULL,
    parts TEXT NOT NULL DEFAULT '[]',
    model TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    finished_at INTEGER,
    FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE
)"""

_READ_FILES = """\
CREATE TABLE IF NOT EXISTS read_files (
    session_id TEXT NOT NULL CHECK (session_id <> ''),
    path TEXT NOT NULL CHECK (path <> ''),
    read_at INTEGER NOT NULL,
    FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    PRIMARY KEY (path, session_id)
)"""


def _index(table: str, column: str) -> str:
    return f"CREATE INDEX IF NOT EXISTS idx_{table}_{column} ON {table} ({column})"


def _touch(table: str) -> str:
    """Return the trigger that keeps a table's ``updated_at``."""
    return f"""\
CREATE TRIGGER IF NOT EXISTS update_{table}_updated_at AFTER UPDATE ON {table}
BEGIN
    UPDATE {table} SET updated_at = strftime('%s', 'now') WHERE id = new.id;
END"""  # noqa: S608  # the names are ours


def _count(event: str, row: str, step: str) -> str:
    """Return a trigger that keeps ``sessions.message_count``."""
    return f"""\
CREATE TRIGGER IF NOT EXISTS update_session_message_count_on_{event} AFTER {event} ON messages
BEGIN
    UPDATE sessions SET message_count = message_count {step} WHERE id = {row}.session_id;
END"""  # noqa: S608  # the names are ours


MIGRATIONS: dict[int, tuple[str, ...]] = {
    20250424200609: (
        _SESSIONS,
        _touch("sessions"),
        _FILES,
        _index("files", "session_id"),
        _index("files", "path"),
        _touch("files"),
        _MESSAGES,
        _index("messages", "session_id"),
        _touch("messages"),
        _count("insert", "new", "+ 1"),
        _count("delete", "old", "- 1"),
    ),
    20250515105448: ("ALTER TABLE sessions ADD COLUMN summary_message_id TEXT",),
    20250624000000: (
        _index("sessions", "created_at"),
        _index("messages", "created_at"),
        _index("files", "created_at"),
    ),
    20250627000000: ("ALTER TABLE messages ADD COLUMN provider TEXT",),
    20250810000000: (
        "ALTER TABLE messages ADD COLUMN is_summary_message INTEGER NOT NULL DEFAULT 0",
    ),
    20250812000000: ("ALTER TABLE sessions ADD COLUMN todos TEXT",),
    20260127000000: (
        _READ_FILES,
        _index("read_files", "session_id"),
        _index("read_files", "path"),
    ),
}
"""Goose version to its statements, in order (agent contract 4.3)."""

JOURNAL: tuple[str, ...] = (
    """\
CREATE TABLE IF NOT EXISTS crush_trio_journal (
    message_id TEXT NOT NULL,
    part TEXT NOT NULL,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    written_at INTEGER NOT NULL,
    FOREIGN KEY (message_id) REFERENCES messages (id) ON DELETE CASCADE
)""",
    "CREATE INDEX IF NOT EXISTS crush_trio_journal_message_id ON crush_trio_journal (message_id)",
)
"""Our own table, unknown to the version table: the unfinished messages of ours and their newest text."""
