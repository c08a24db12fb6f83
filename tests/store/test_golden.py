"""One database for two programs: Crush's opens here and is continued, and ours is as Crush wants it
(wire contract 7.11, agent contract 4)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import SessionID
from crush_trio.messages import decode_parts, encode_parts
from crush_trio.providers.scripted import Call, Say, ScriptedModel, Think
from crush_trio.store import open_store
from crush_trio.wire.sessions import Todo
from limits_kit import REAL_LIMIT
from world_kit import open_world

GOLDEN = Path(__file__).parent / "golden" / "crush.sql"
SESSION = SessionID("0b9e7b8e-0a2f-4a1c-a7c1-3a0a5d8b8f01")
SUMMARISED = SessionID("7d1c2c52-30a4-4d44-8a31-6f6f3f0a9c02")
CHILD = SessionID("5f0b6a10-0000-4000-8000-000000000002$$toolu_2")
TABLES = ("sessions", "messages", "files", "read_files", "goose_db_version")

PART_KEYS: dict[str, tuple[list[str], list[str]]] = {
    "text": (["text"], []),
    "reasoning": (
        ["thinking", "signature", "thought_signature", "tool_id", "responses_data"],
        ["started_at", "finished_at"],
    ),
    "tool_call": (["id", "name", "input", "provider_executed", "finished"], []),
    "tool_result": (
        ["tool_call_id", "name", "content", "data", "mime_type", "metadata", "is_error"],
        [],
    ),
    "binary": (["Path", "MIMEType", "Data"], []),
    "shell_command": (["command", "output", "exit_code"], []),
    "finish": (["reason", "time"], ["message", "details"]),
}
"""Keys that each type of part always has, and those that it may have (agent contract 4.4)."""


def make(path: Path) -> None:
    """Make the golden database."""
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(GOLDEN.read_text())


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a program that is not ours finds."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of Crush's tables."""
    return {table: rows(path, f"SELECT * FROM {table} ORDER BY rowid") for table in TABLES}


def schema(path: Path) -> dict[str, Any]:
    """Return what Crush relies on: columns in their order, keys, indexes, triggers, versions."""
    found: dict[str, Any] = {}
    for table in TABLES:
        found[table] = rows(path, f"SELECT * FROM pragma_table_info('{table}')")
        found[f"{table} keys"] = rows(path, f"SELECT * FROM pragma_foreign_key_list('{table}')")
    for kind, name, sql in rows(path, "SELECT type, name, sql FROM sqlite_master"):
        if kind != "table" and not name.startswith("crush_trio_") and sql:
            found[name] = normal(sql)
    found["versions"] = rows(
        path, "SELECT version_id, is_applied FROM goose_db_version ORDER BY id"
    )
    return found


def normal(sql: str) -> str:
    """Return a statement without what does not matter to SQLite."""
    return " ".join(sql.replace("IF NOT EXISTS ", "").split()).lower()


def members(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Decode an object so that the order of its members counts."""
    return pairs


def in_order(text: str) -> Any:
    return json.loads(text, object_pairs_hook=members)


def parts_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every stored part."""
    for (parts,) in rows(path, "SELECT parts FROM messages"):
        yield from json.loads(parts)


# --- a database of Crush ------------------------------------------------------------------------


async def test_a_database_of_crush_is_read(tmp_path: Path) -> None:
    """Sessions with their todos, child sessions, every type of part, file versions."""
    make(tmp_path / "crush.db")
    with trio.fail_after(REAL_LIMIT):
        async with open_store(tmp_path, lambda _: None) as store:
            assert [s.id for s in await store.sessions()] == [SESSION, SUMMARISED]
            session = await store.session(SESSION)
            assert session is not None
            assert (session.message_count, session.prompt_tokens, session.cost) == (
                7,
                12034,
                0.0412,
            )
            assert session.todos == (Todo("Add test", "pending", "Adding test"),)
            messages = await store.messages(SESSION)
            assert [m.role for m in messages] == [
                *("user", "assistant", "tool", "assistant", "user", "user", "assistant")
            ]
            assert messages[1].tool_calls[0].name == "view"
            assert messages[2].tool_results[0].tool_call_id == "toolu_1"
            assert messages[6].finish is not None
            assert messages[6].finish.details == "bad key"
            assert [m.text for m in await store.messages(CHILD)] == ["Search for it"]
            summarised = await store.session(SUMMARISED)
            assert summarised is not None
            assert summarised.summary_message_id == "5f0b6a10-0000-4000-8000-000000000013"
            assert [f.version for f in await store.file_versions(SESSION)] == [0, 1]


async def test_opening_a_database_of_crush_changes_nothing_in_it(tmp_path: Path) -> None:
    """Not even an answer without an end: its own program may be writing it. Our table comes beside."""
    path = tmp_path / "crush.db"
    make(path)
    before = content(path), schema(path)
    async with open_store(tmp_path, lambda _: None):
        pass
    assert (content(path), schema(path)) == before
    ours = rows(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert {name for (name,) in ours} - {*TABLES, "sqlite_sequence"} == {"crush_trio_journal"}


def test_every_part_of_crush_is_written_back_as_it_was(tmp_path: Path) -> None:
    """With all members in their order, also those that only another provider understands."""
    path = tmp_path / "crush.db"
    make(path)
    stored = rows(path, "SELECT parts FROM messages")
    assert len(stored) == 11
    for (parts,) in stored:
        assert in_order(encode_parts(decode_parts(parts))) == in_order(parts)


async def test_words_of_another_version_hide_nothing(tmp_path: Path) -> None:
    """A reason and a status that v0.90 does not write: its clients take any, and so do we (6.2)."""
    path = tmp_path / "crush.db"
    make(path)
    ended = '[{"type":"finish","data":{"reason":"permission_denied","time":1750000000}}]'
    todos = '[{"content":"Ship","status":"blocked","active_form":"Shipping"}]'
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE messages SET parts = ? WHERE session_id = ?", (ended, SESSION))
        connection.execute("UPDATE sessions SET todos = ? WHERE id = ?", (todos, SESSION))
    with trio.fail_after(5):
        async with open_store(tmp_path, lambda _: None) as store:
            (finish,) = {message.finish for message in await store.messages(SESSION)}
            assert finish is not None
            assert finish.reason == "permission_denied"
            first, *_ = await store.sessions()
            assert first.todos == (Todo("Ship", "blocked", "Shipping"),)


@pytest.mark.promise("R9")
async def test_a_session_of_crush_is_continued(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The model is told what was said; what was stored stays, and the new rows come behind it."""
    path = tmp_path / "project" / ".crush" / "crush.db"
    path.parent.mkdir(parents=True)
    make(path)
    before = content(path)
    model = ScriptedModel("Now it works.")
    with trio.fail_after(3600):
        async with open_world(tmp_path, model) as world, world.client() as client:
            async with client.open_workspace(str(world.directory)) as workspace:
                result = await workspace.session(SESSION).prompt("Again?")
                assert result.text == "Now it works."
                request = await model.wait_request(1)
    told = [m.text.strip() for m in request.messages if m.role != "system"]
    for text in ("What is this?", "Looking at the config.", "It imports os.", "Again?"):
        assert any(text in said for said in told)
    assert any("$ git status" in said for said in told)
    after = content(path)
    number = len(before["messages"])
    assert after["messages"][:number] == before["messages"]
    assert [row[2] for row in after["messages"][number:]] == ["user", "assistant"]
    assert after["files"] == before["files"]
    assert rows(path, f"SELECT message_count FROM sessions WHERE id = '{SESSION}'") == [(9,)]
    assert after["sessions"][1:] == before["sessions"][1:]


# --- a database of ours -------------------------------------------------------------------------


async def write_ours(tmp_path: Path) -> Path:
    """Let a model think, use a tool and answer; return the database."""
    script = [Think("Hm."), Say("I look."), Call("ls", {"path": "."})]
    model = ScriptedModel(script, "Done.")
    with trio.fail_after(3600):
        async with open_world(tmp_path, model) as world, world.client() as client:
            async with client.open_workspace(str(world.directory), yolo=True) as workspace:
                session = await workspace.create_session("ours")
                assert (await session.prompt("look around")).outcome == "completed"
    return tmp_path / "project" / ".crush" / "crush.db"


async def test_a_database_of_ours_has_crushs_schema(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The same columns, keys, indexes, triggers and versions, so that Crush migrates nothing."""
    make(tmp_path / "golden" / "crush.db")
    ours = await write_ours(tmp_path)
    assert schema(ours) == schema(tmp_path / "golden" / "crush.db")


async def test_what_we_store_is_what_crush_reads(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Every part has its members and no other, every column its kind (agent contract 4.2, 4.4)."""
    path = await write_ours(tmp_path)
    kinds = set[str]()
    for part in parts_of(path):
        assert list(part) == ["type", "data"]
        always, sometimes = PART_KEYS[part["type"]]
        names = list(part["data"])
        assert names[: len(always)] == always
        assert set(names[len(always) :]) <= set(sometimes)
        kinds.add(part["type"])
    assert kinds == {"text", "reasoning", "tool_call", "tool_result", "finish"}
    stored = rows(
        path,
        "SELECT role, model, provider, typeof(created_at), typeof(updated_at), typeof(finished_at),"
        " is_summary_message FROM messages ORDER BY rowid",
    )
    from_model = ("scripted-1", "scripted", "integer", "integer", "integer", 0)
    from_others = ("", None, "integer", "integer", "null", 0)
    assert stored == [
        ("user", *from_others),
        ("assistant", *from_model),
        ("tool", *from_others),
        ("assistant", *from_model),
    ]
    last = [json.loads(parts)[-1] for (parts,) in rows(path, "SELECT parts FROM messages")]
    assert [part["data"]["reason"] for part in last] == ["stop", "tool_use", "stop", "end_turn"]
    assert [part["data"]["time"] for part in last if part["data"]["reason"] == "stop"] == [0, 0]
    ((todos, summary, parent, count),) = rows(
        path, "SELECT todos, summary_message_id, parent_session_id, message_count FROM sessions"
    )
    assert (todos, summary, parent, count) == (None, None, None, 4)


async def test_crush_goes_on_in_a_database_of_ours(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """With its own statements and our triggers; what it wrote is read here afterwards."""
    path = await write_ours(tmp_path)
    ((session_id,),) = rows(path, "SELECT id FROM sessions")
    said = '[{"type":"text","data":{"text":"from Crush"}},{"type":"finish","data":{"reason":"stop","time":0}}]'
    with closing(sqlite3.connect(path)) as crush, crush:
        crush.execute("PRAGMA foreign_keys = ON")
        crush.execute(
            "INSERT INTO messages (id, session_id, role, parts, model, provider, is_summary_message,"
            " created_at, updated_at) VALUES (?, ?, 'user', ?, '', NULL, 0,"
            " strftime('%s', 'now'), strftime('%s', 'now'))",
            ("m", session_id, said),
        )
        crush.execute("UPDATE sessions SET title = 'renamed' WHERE id = ?", (session_id,))
    assert rows(path, "SELECT message_count, typeof(updated_at), title FROM sessions") == [
        (5, "integer", "renamed")
    ]
    with trio.fail_after(3600):
        async with open_world(tmp_path, ScriptedModel("yes")) as world, world.client() as client:
            async with client.open_workspace(str(world.directory)) as workspace:
                assert [s.title for s in await workspace.sessions()] == ["renamed"]
                messages = await workspace.session(session_id).messages()
    assert messages[-1].text == "from Crush"
    with closing(sqlite3.connect(path)) as crush, crush:
        crush.execute("PRAGMA foreign_keys = ON")
        crush.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
    assert rows(path, "SELECT count(*) FROM messages") == [(0,)]
