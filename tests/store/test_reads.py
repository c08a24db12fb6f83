"""Reads stand beside the writer, and see what other programs wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.errors import StoreClosedError, StoreError
from crush_trio.store import Store
from crush_trio.store.opening import READERS
from crush_trio.wire.events import Event
from limits_kit import REAL_LIMIT
from store_kit import KINDS, Clock, Gate, Kind, Opened, foreign, opening, user


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncGenerator[Opened]:
    events: list[Event] = []
    clock = Clock()
    async with opening("file", tmp_path, events, clock) as store:
        yield Opened(store, events, clock)


async def test_reads_do_not_wait_for_a_long_write(opened: Opened) -> None:
    """While a transaction is held open by a gate, reads answer with the state before it."""
    store, gate = opened.store, Gate()
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session("old")
        await store.create_message(user(session_id, "hello")).wait()
        held = store._writer.post(gate)
        behind = store.rename_session(session_id, "new")
        await gate.reached.wait()
        assert [session.title for session in await store.sessions()] == ["old"]
        assert len(await store.messages(session_id)) == 1
        assert not held.done
        gate.open.set()
        await behind.wait()
        assert [session.title for session in await store.sessions()] == ["new"]


async def test_more_readers_than_connections_take_turns(opened: Opened) -> None:
    """Reads are bounded in number and none is lost."""
    found: list[int] = []

    async def read() -> None:
        found.append(len(await opened.store.sessions()))

    with trio.fail_after(REAL_LIMIT):
        await opened.session()
        async with trio.open_nursery() as nursery:
            for _ in range(5 * READERS):
                nursery.start_soon(read)
    assert found == [1] * (5 * READERS)


async def test_a_reading_connection_cannot_write(opened: Opened) -> None:
    """Only the writer writes: what a read might change is refused."""
    with trio.fail_after(REAL_LIMIT):
        with pytest.raises(StoreError, match=r"cannot read the database: .*readonly"):
            await opened.rows("DELETE FROM sessions")


async def test_another_program_that_writes_is_noticed_and_read(
    opened: Opened, tmp_path: Path
) -> None:
    """Crush in its local mode takes no lock: what it writes shows, and changes the number."""
    store = opened.store
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session("ours")
        await store.current_session(session_id).wait()
        before = store.foreign_changes
        await trio.to_thread.run_sync(
            foreign, tmp_path, f"UPDATE sessions SET title = 'theirs' WHERE id = '{session_id}'"
        )
        found = await store.session(session_id)
        assert found is not None
        assert found.title == "theirs"
        await store.current_session(session_id).wait()
        assert store.foreign_changes != before
        before = store.foreign_changes
        await store.create_message(user(session_id, "x")).wait()
        assert store.foreign_changes == before
        await trio.to_thread.run_sync(foreign, tmp_path, "UPDATE sessions SET cost = 1")
        await store.create_message(user(session_id, "y")).wait()
        assert store.foreign_changes != before


async def test_foreign_todos_that_cannot_be_read_name_their_session(opened: Opened) -> None:
    """As for messages: a loud error that says where to look."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        await opened.post_sql("""UPDATE sessions SET todos = '[{"status":7}]'""").wait()
        with pytest.raises(StoreError, match=f"todos of session '{session_id}'"):
            await opened.store.sessions()


async def test_closing_waits_for_reads_that_are_under_way(tmp_path: Path) -> None:
    """A request that reads is not the store's task. A connection that is closed while a thread reads
    from it would end the whole process."""
    found: list[int] = []
    left, gate = trio.Event(), trio.Event()

    async def wait() -> None:
        with trio.move_on_after(5):
            await gate.wait()

    def slow(connection: sqlite3.Connection) -> int:
        trio.from_thread.run(wait)
        return len(connection.execute("SELECT id FROM sessions").fetchall())

    async def read(store: Store) -> None:
        found.append(await store._reads.read(slow))

    async def open_later() -> None:
        await left.wait()
        await wait_all_tasks_blocked(0.05)
        assert found == []
        gate.set()

    with trio.fail_after(REAL_LIMIT):
        async with trio.open_nursery() as nursery:
            async with opening("file", tmp_path, [], Clock()) as store:
                await store.create_session("one").wait()
                for _ in range(READERS + 1):  # the last one waits for its turn
                    nursery.start_soon(read, store)
                nursery.start_soon(open_later)
                await wait_all_tasks_blocked(0.01)
                left.set()
            assert found == [1] * (READERS + 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_closed_store_is_not_read(kind: Kind, tmp_path: Path) -> None:
    """It says so, as for writes."""
    with trio.fail_after(REAL_LIMIT):
        async with opening(kind, tmp_path, [], Clock()) as store:
            pass
        with pytest.raises(StoreClosedError, match="the store is closed"):
            await store.sessions()
