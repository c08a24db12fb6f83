"""Connections to a database file: how they are opened, migrated and begin to write.

Everything here blocks and runs in a worker thread, but for the twin in memory.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import attrs

from crush_trio.store.schema import JOURNAL, MIGRATIONS, VERSION_TABLE

logger = logging.getLogger(__name__)

BUSY_TIMEOUT = 30.0
"""Seconds that a write waits for another program that is writing (agent contract 4.1)."""

_BUSY_SLICE_MS = 200
"""Milliseconds that one attempt to begin may block; between two of them a close is noticed."""

_PRAGMAS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA page_size = 4096",  # counts only for a file that is still empty: before WAL
    "PRAGMA journal_mode = WAL",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -8000",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA secure_delete = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT * 1000:.0f}",
)
"""What every connection is told when it opens (agent contract 4.1)."""


@attrs.define(eq=False)
class WriteConnection:
    """The one connection of a store that writes.

    Attributes:
        connection: The connection, in autocommit mode: transactions are begun by hand.
        name: The file as errors name it.
        now: Unix seconds of the job at work; the triggers of this connection write them too, so
            that one clock rules all times.
        patience: Seconds that :meth:`begin` waits for another program.
        foreign_changes: Changes when another program wrote to the database.
        file: Which file it is, as :func:`_identity` says; None in memory.
    """

    connection: sqlite3.Connection
    name: str
    now: int = 0
    patience: float = BUSY_TIMEOUT
    foreign_changes: int = 0
    file: tuple[int, int] | None = None

    def __attrs_post_init__(self) -> None:
        self.connection.create_function("strftime", 2, self._strftime)

    def _strftime(self, form: str, when: str) -> str:
        """Answer the ``strftime('%s', 'now')`` of the triggers with the job's time."""
        if (form, when) == ("%s", "now"):
            return str(self.now)
        with closing(sqlite3.connect(":memory:")) as plain:  # some trigger of a newer Crush
            return plain.execute("SELECT strftime(?, ?)", (form, when)).fetchone()[0]

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(sql, values)

    def begin(self, give_up: Callable[[], bool]) -> None:
        """Begin a transaction that may write, waiting while another program writes.

        Args:
            give_up: Asked before each attempt whether there is still time; may raise.

        Raises:
            FileNotFoundError: somebody removed or replaced the file: SQLite would go on writing into
                the old one, which nobody will ever open again (C2).
            TimeoutError: ``give_up`` said so.
            sqlite3.OperationalError: it was locked for :attr:`patience` seconds, or it cannot be
                read.
        """
        self.rollback()
        deadline = time.monotonic() + self.patience
        while True:
            if give_up():
                raise TimeoutError("the store was closed before this could be written")
            if self.file is not None and _identity(self.name) != self.file:
                raise FileNotFoundError(
                    "the file was removed or replaced while it was open; close the workspace and "
                    "open it again"
                )
            try:
                self.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
            else:
                self.foreign_changes = self.execute("PRAGMA data_version").fetchone()[0]
                return

    def rollback(self) -> None:
        """Undo what is left of a failed transaction; what cannot be undone yet is tried again later."""
        if self.connection.in_transaction:
            try:
                self.execute("ROLLBACK")
            except sqlite3.Error:  # whoever waits for the writes must be told all the same
                logger.exception("a transaction of %s cannot be rolled back", self.name)


def connect(name: str | Path) -> sqlite3.Connection:
    """Open a connection with Crush's pragmas that may move from thread to thread.

    Raises:
        sqlite3.Error: the file is no database, or cannot be opened.
    """
    connection = sqlite3.connect(
        name, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_writer(name: str | Path) -> WriteConnection:
    """Open the connection that writes.

    Raises:
        sqlite3.Error: as for :func:`connect`.
    """
    connection = connect(name)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_SLICE_MS}")
    connection.execute("PRAGMA trusted_schema = ON")  # triggers may call our strftime
    file = None if str(name) == ":memory:" else _identity(name)
    return WriteConnection(connection, str(name), file=file)


def _identity(name: str | Path) -> tuple[int, int] | None:
    """Return device and number of the file at a path, or None if there is none."""
    with suppress(OSError):
        found = os.stat(name)  # noqa: PTH116 -- a path is not made anew for every commit
        return found.st_dev, found.st_ino
    return None


def connect_reader(name: str | Path) -> sqlite3.Connection:
    """Open a connection that cannot write.

    Raises:
        sqlite3.Error: as for :func:`connect`.
    """
    connection = connect(name)
    connection.execute("PRAGMA query_only = ON")
    return connection


def migrate(writing: WriteConnection) -> None:
    """Bring a database of any age to the newest schema, inside the open transaction.

    Versions that a newer Crush has added are left alone.
    """
    writing.execute(VERSION_TABLE)
    rows = writing.execute("SELECT version_id, is_applied FROM goose_db_version ORDER BY id")
    applied = dict(rows.fetchall())  # the newest row of a version decides
    if 0 not in applied:
        _record(writing, 0)
    for version, statements in MIGRATIONS.items():
        if not applied.get(version):
            for statement in statements:
                writing.execute(statement)
            _record(writing, version)
    for statement in JOURNAL:
        writing.execute(statement)


def _record(writing: WriteConnection, version: int) -> None:
    writing.execute(
        "INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)", (version,)
    )
