"""The schema: Crush's own to the letter, whatever age the database has."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from crush_trio.ids import SessionID
from crush_trio.messages import Text, TextPart
from crush_trio.store import open_store
from crush_trio.store.database import WriteConnection, connect, connect_writer, migrate
from crush_trio.store.schema import MIGRATIONS, VERSION_TABLE
from limits_kit import REAL_LIMIT
from store_kit import assistant, foreign

COLUMNS = {
    "sessions": "id TEXT, parent_session_id TEXT, title TEXT!, message_count INTEGER! 0,"
    " prompt_tokens INTEGER! 0, completion_tokens INTEGER! 0, cost REAL! 0.0, updated_at INTEGER!,"
    " created_at INTEGER!, summary_message_id TEXT, todos TEXT",
    "messages": "id TEXT, session_id TEXT!, role TEXT!, parts TEXT! '[]', model TEXT,"
    " created_at INTEGER!, updated_at INTEGER!, finished_at INTEGER, provider TEXT,"
    " is_summary_message INTEGER! 0",
    "files": "id TEXT, session_id TEXT!, path TEXT!, content TEXT!, version INTEGER! 0,"
    " created_at INTEGER!, updated_at INTEGER!",
    "read_files": "session_id TEXT!, path TEXT!, read_at INTEGER!",
    "goose_db_version": "id INTEGER, version_id INTEGER!, is_applied INTEGER!,"
    " tstamp TIMESTAMP datetime('now')",
}
"""agent.md 4.2: names, types, not null (!) and defaults; Crush reads with `SELECT *`, so the order
counts."""

INDEXES = {
    "idx_sessions_created_at",
    "idx_messages_session_id",
    "idx_messages_created_at",
    "idx_files_session_id",
    "idx_files_path",
    "idx_files_created_at",
    "idx_read_files_session_id",
    "idx_read_files_path",
}

TRIGGERS = {
    "update_sessions_updated_at",
    "update_messages_updated_at",
    "update_files_updated_at",
    "update_session_message_count_on_insert",
    "update_session_message_count_on_delete",
}

VERSIONS = [0, *MIGRATIONS]


@pytest.fixture
def writing() -> Generator[WriteConnection]:
    opened = connect_writer(":memory:")
    with closing(opened.connection):
        yield opened


def columns(connection: sqlite3.Connection) -> dict[str, str]:
    described = """
        SELECT group_concat(name || ' ' || type || iif("notnull", '!', '')
            || coalesce(' ' || dflt_value, ''), ', ')
        FROM pragma_table_info(?)"""
    return {table: connection.execute(described, (table,)).fetchone()[0] for table in COLUMNS}


def named(connection: sqlite3.Connection, kind: str) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = ?", (kind,))
    return {name for (name,) in rows if not name.startswith("sqlite_")}


def versions(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    return connection.execute(
        "SELECT version_id, is_applied FROM goose_db_version ORDER BY id"
    ).fetchall()


def test_a_new_database_is_a_fresh_one_of_crush_and_our_journal(writing: WriteConnection) -> None:
    """Same columns in the same order, same indexes, triggers and versions; one table is ours."""
    migrate(writing)
    assert columns(writing.connection) == COLUMNS
    assert named(writing.connection, "table") == {*COLUMNS, "crush_trio_journal"}
    ours = {"crush_trio_journal_message_id"}
    assert named(writing.connection, "index") == INDEXES | ours
    assert named(writing.connection, "trigger") == TRIGGERS
    assert versions(writing.connection) == [(version, 1) for version in VERSIONS]


def test_every_index_is_on_the_column_in_its_name(writing: WriteConnection) -> None:
    """agent.md 4.2."""
    migrate(writing)
    for name in INDEXES:
        ((column,),) = writing.execute("SELECT name FROM pragma_index_info(?)", (name,)).fetchall()
        assert name.endswith(f"_{column}")


def test_rows_of_a_session_go_with_it_and_nonsense_is_refused(writing: WriteConnection) -> None:
    """agent.md 4.2: foreign keys that cascade, unique versions, and checks."""
    migrate(writing)
    for table in ("messages", "files", "read_files"):
        ((target, column, on_delete),) = writing.execute(
            'SELECT "table", "from", on_delete FROM pragma_foreign_key_list(?)', (table,)
        ).fetchall()
        assert (target, column, on_delete) == ("sessions", "session_id", "CASCADE")
    writing.execute("INSERT INTO sessions (id, title, updated_at, created_at) VALUES ('s','',1,1)")
    writing.execute("INSERT INTO files VALUES ('f', 's', '/p', '', 0, 1, 1)")
    for refused in (
        "UPDATE sessions SET message_count = -1",
        "UPDATE sessions SET prompt_tokens = -1",
        "UPDATE sessions SET completion_tokens = -1",
        "UPDATE sessions SET cost = -1",
        "INSERT INTO files VALUES ('g', 's', '/p', '', 0, 1, 1)",
        "INSERT INTO read_files VALUES ('s', '', 1)",
        "INSERT INTO read_files VALUES ('', '/p', 1)",
        "INSERT INTO messages SELECT 'm', 'nobody', 'user', '[]', '', 1, 1, NULL, '', 0",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            writing.execute(refused)


@pytest.mark.parametrize("known", range(len(VERSIONS) + 1))
def test_a_database_of_any_age_is_brought_up_to_date(writing: WriteConnection, known: int) -> None:
    """The missing migrations run, the others do not run again, and rows stay."""
    applied = VERSIONS[:known]
    if applied:
        writing.execute(VERSION_TABLE)
    for version in applied:
        for statement in MIGRATIONS.get(version, ()):
            writing.execute(statement)
        writing.execute(
            "INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, 1)", (version,)
        )
    if known > 1:
        writing.execute(
            "INSERT INTO sessions (id, title, updated_at, created_at) VALUES ('s', 'old', 1, 1)"
        )
    migrate(writing)
    migrate(writing)
    assert columns(writing.connection) == COLUMNS
    assert named(writing.connection, "index") >= INDEXES
    assert named(writing.connection, "trigger") == TRIGGERS
    assert versions(writing.connection) == [(version, 1) for version in VERSIONS]
    titles = writing.execute("SELECT title FROM sessions").fetchall()
    assert titles == ([("old",)] if known > 1 else [])


def test_the_newest_row_of_a_version_decides_and_newer_versions_are_left_alone(
    writing: WriteConnection,
) -> None:
    """Goose notes a migration that was undone by another row; a newer Crush adds versions."""
    migrate(writing)
    last = VERSIONS[-1]
    for table in ("idx_read_files_path", "idx_read_files_session_id"):
        writing.execute(f"DROP INDEX {table}")
    writing.execute("DROP TABLE read_files")
    writing.connection.executescript(
        f"""INSERT INTO goose_db_version (version_id, is_applied) VALUES ({last}, 0);
        INSERT INTO goose_db_version (version_id, is_applied) VALUES (20990101000000, 1);"""
    )
    migrate(writing)
    assert columns(writing.connection) == COLUMNS
    assert versions(writing.connection)[-3:] == [(last, 0), (20990101000000, 1), (last, 1)]


def test_triggers_of_a_newer_crush_may_ask_for_the_time_in_other_ways(
    writing: WriteConnection,
) -> None:
    """The clock of our jobs answers what today's triggers ask, and SQLite everything else."""
    migrate(writing)
    writing.now = 77
    asked = (
        "SELECT strftime('%s', 'now'), strftime('%Y', '1999-12-31'), strftime('%s', 0, 'unixepoch')"
    )
    assert writing.execute(asked).fetchone() == ("77", "1999", "0")


def test_connections_have_the_pragmas_of_crush(tmp_path: Path) -> None:
    """agent.md 4.1."""
    with closing(connect(tmp_path / "crush.db")) as connection:
        found = {
            pragma: connection.execute(f"PRAGMA {pragma}").fetchone()[0]
            for pragma in (
                "foreign_keys",
                "journal_mode",
                "page_size",
                "temp_store",
                "cache_size",
                "synchronous",
                "secure_delete",
                "busy_timeout",
            )
        }
    assert found == {
        "foreign_keys": 1,
        "journal_mode": "wal",
        "page_size": 4096,
        "temp_store": 2,
        "cache_size": -8000,
        "synchronous": 1,
        "secure_delete": 1,
        "busy_timeout": 30_000,
    }


async def test_another_program_can_use_what_we_made(tmp_path: Path) -> None:
    """Triggers work without us, and a deletion by Crush takes our journal rows along."""
    with trio.fail_after(REAL_LIMIT):
        async with open_store(tmp_path, lambda _: None, clock=lambda: 5.0) as store:
            session = await store.create_session("a").wait()
            draft = assistant(SessionID(session.id), TextPart(Text("x")))
            await store.create_message(draft).wait()
            await store.append_journal(draft.id, "text", 1, "y").wait()
    query = "SELECT message_count, updated_at FROM sessions"
    assert foreign(tmp_path, query) == [(1, 5)]
    ((count, updated),) = foreign(tmp_path, f"DELETE FROM messages WHERE id = '{draft.id}'", query)
    assert count == 0
    assert updated > 1_000_000_000
    assert foreign(tmp_path, "SELECT * FROM crush_trio_journal") == []
