"""Order, grouping and failure of writes."""

from __future__ import annotations

import gc
import itertools
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from crush_trio.errors import StoreError
from crush_trio.ids import SessionID
from crush_trio.messages import Text, TextPart
from crush_trio.store import Job, open_memory_store
from crush_trio.store.database import WriteConnection, connect_writer
from crush_trio.store.writer import BATCH, commit
from crush_trio.wire.events import Event
from crush_trio.wire.sessions import Session
from limits_kit import REAL_LIMIT
from store_kit import KINDS, Clock, Kind, Opened, assistant, opening, user


@pytest.fixture(params=KINDS)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Opened]:
    kind: Kind = request.param
    events: list[Event] = []
    clock = Clock()
    async with opening(kind, tmp_path / "data", events, clock) as store:
        yield Opened(store, events, clock, kind)


@pytest.fixture
async def on_disk(tmp_path: Path) -> AsyncGenerator[Opened]:
    events: list[Event] = []
    clock = Clock()
    async with opening("file", tmp_path / "data", events, clock) as store:
        yield Opened(store, events, clock)


async def trace(opened: Opened) -> list[str]:
    """Return the list that grows by every statement that the writer runs from now on."""
    statements: list[str] = []
    job = opened.store._writer.post(
        lambda writing: (writing.connection.set_trace_callback(statements.append), None)
    )
    await job.wait()
    statements.clear()
    return statements


def jobs_by_transaction(statements: list[str]) -> list[int]:
    """Return how many jobs each transaction carried."""
    counts: list[int] = []
    for statement in statements:
        if statement == "BEGIN IMMEDIATE":
            counts.append(0)
        elif statement == "SAVEPOINT job":
            counts[-1] += 1
    return counts


def boom(writing: WriteConnection) -> tuple[None, None]:
    """Write something, then fail."""
    writing.execute("UPDATE sessions SET title = 'spoiled'")
    raise RuntimeError("boom")


# --- order ---------------------------------------------------------------------------


@pytest.mark.promise("S4", "R8")
async def test_events_come_in_commit_order_with_many_writers_and_cancelled_waits(
    opened: Opened,
) -> None:
    """Tasks that write side by side, some cancelled while they wait: one order for all.

    The interleaving is proven by the order of posting, in which no task posts all its updates in
    a row, and by the cancels that struck.
    """
    store, posted, cancelled = opened.store, list[str](), list[str]()

    async def write(session_id: SessionID, name: str) -> None:
        draft = assistant(session_id)
        await store.create_message(draft).wait()
        for step in range(20):
            said = f"{name}{step}"
            draft = msgspec.structs.replace(draft, parts=(TextPart(Text(said)),))
            with trio.CancelScope() as scope:
                job = store.update_message(draft, streaming=step % 3 > 0)
                posted.append(said)
                if step % 4 == 1:
                    scope.cancel()
                await job.wait()
                assert f"message updated {said}" in opened.told()
            if scope.cancelled_caught:
                cancelled.append(said)

    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        async with trio.open_nursery() as nursery:
            for name in "abcdefghij":
                nursery.start_soon(write, session_id, name)
        await store.current_session(session_id).wait()
    assert len(cancelled) == 50
    assert sum(one[0] != two[0] for one, two in itertools.pairwise(posted)) > 100
    updates = [told.split()[-1] for told in opened.told() if told.startswith("message updated")]
    assert updates == posted


async def test_events_are_published_before_any_waiter_of_the_commit_wakes(opened: Opened) -> None:
    """Whoever wakes sees the events of the whole commit, not only those up to its own."""
    seen: list[int] = []
    with trio.fail_after(REAL_LIMIT):
        gate = await opened.hold()
        jobs = [opened.store.create_session(str(number)) for number in range(10)]

        async def look(job: Job[Session]) -> None:
            await job.wait()
            seen.append(len(opened.events))

        async with trio.open_nursery() as nursery:
            for job in jobs:
                nursery.start_soon(look, job)
            gate.open.set()
    assert seen == [10] * 10


@pytest.mark.promise("C3")
async def test_a_reader_that_breaks_does_not_stop_the_writer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """C3: what `publish` raises is logged; the write counts, and the next one as well."""
    told: list[str] = []

    def publish(event: Event) -> None:
        assert isinstance(event.payload, Session)
        if event.payload.title == "a":
            raise RuntimeError("no")
        told.append(event.payload.title)

    with trio.fail_after(5):
        async with open_memory_store(publish) as store:
            await store.create_session("a").wait()
            await store.create_session("b").wait()
            assert len(await store.sessions()) == 2
    assert told == ["b"]
    assert "could not be published" in caplog.text


# --- groups ---------------------------------------------------------------------------


async def test_what_waits_during_a_commit_is_committed_together(on_disk: Opened) -> None:
    """Group commit: one transaction for all jobs that came while another one was open."""
    store = on_disk.store
    with trio.fail_after(REAL_LIMIT):
        statements = await trace(on_disk)
        gate = await on_disk.hold()
        jobs = [store.create_session(str(number)) for number in range(100)]
        async with trio.open_nursery() as nursery:
            for job in jobs:
                nursery.start_soon(job.wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not any(job.done for job in jobs)
            gate.open.set()
    assert jobs_by_transaction(statements) == [1, 100]


async def test_a_transaction_carries_a_bounded_number_of_jobs(opened: Opened) -> None:
    """What does not fit into one transaction goes into the next ones, in order."""
    with trio.fail_after(REAL_LIMIT):
        statements = await trace(opened)
        jobs = [opened.store.create_session(str(number)) for number in range(3 * BATCH + 1)]
        await jobs[-1].wait()
        assert all(job.done for job in jobs)
    counts = jobs_by_transaction(statements)
    assert sum(counts) == 3 * BATCH + 1
    assert max(counts) == BATCH
    assert opened.told() == [f"session created {number}" for number in range(3 * BATCH + 1)]


async def test_an_idle_writer_does_nothing(on_disk: Opened) -> None:
    """No polling: with no job the writer's thread runs no statement."""
    with trio.fail_after(REAL_LIMIT):
        statements = await trace(on_disk)
        await trio.testing.wait_all_tasks_blocked(0.05)
    assert statements == []


# --- failures --------------------------------------------------------------------------


async def test_a_failing_job_spoils_no_other(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    """Each job has its savepoint: what failed is undone alone, though all share a transaction."""
    store = opened.store
    with trio.fail_after(REAL_LIMIT):
        gate = await opened.hold()
        before = store.create_session("before")
        broken = store._writer.post(boom)
        twice = store.create_session("twice", session_id=SessionID("s"))
        again = store.create_session("again", session_id=SessionID("s"))
        after = store.create_session("after")
        gate.open.set()
        with pytest.raises(StoreError, match="boom"):
            await broken.wait()
        with pytest.raises(StoreError, match=r"UNIQUE constraint failed: sessions\.id"):
            await again.wait()
        for job in (before, twice, after):
            await job.wait()
        titles = [session.title for session in await store.sessions()]
    assert titles == ["after", "twice", "before"]
    assert opened.told() == [f"session created {title}" for title in ("before", "twice", "after")]
    assert "a write could not be carried out" in caplog.text


@pytest.mark.promise("C2")
async def test_a_failing_commit_fails_every_job_of_it(opened: Opened) -> None:
    """Nothing is published for what a COMMIT refused, and the next transaction is untouched."""
    store = opened.store
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session("kept")
        opened.events.clear()
        gate = await opened.hold()
        good = store.create_session("lost")
        bad = opened.post_sql(
            "PRAGMA defer_foreign_keys = ON",
            "INSERT INTO files VALUES ('f', 'nobody', '/p', '', 0, 1, 1)",
        )
        gate.open.set()
        for job in (good, bad):
            with pytest.raises(StoreError, match="FOREIGN KEY constraint failed"):
                await job.wait()
        assert opened.events == []
        assert [session.id for session in await store.sessions()] == [session_id]
        await store.create_session("next").wait()
    assert opened.told() == ["session created next"]


@pytest.mark.promise("C2")
async def test_a_transaction_that_sqlite_gave_up_fails_every_job_of_it(opened: Opened) -> None:
    """Some errors undo the whole transaction: then the jobs before are undone too, and say so."""
    store = opened.store

    def give_up(writing: WriteConnection) -> tuple[None, None]:
        writing.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    with trio.fail_after(REAL_LIMIT):
        gate = await opened.hold()
        jobs = [store.create_session("a"), store._writer.post(give_up), store.create_session("b")]
        gate.open.set()
        for job in jobs:
            with pytest.raises(StoreError, match="disk I/O error"):
                await job.wait()
        assert opened.events == []
        assert await store.sessions() == []


@pytest.mark.promise("C2")
async def test_a_full_disk_is_an_error_and_nothing_is_told(opened: Opened) -> None:
    """What does not fit fails; what fits again later is written."""
    store = opened.store
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        draft = assistant(session_id)
        await store.create_message(draft).wait()
        opened.events.clear()
        await opened.post_sql("PRAGMA max_page_count = 1").wait()
        long = msgspec.structs.replace(draft, parts=(TextPart(Text("x" * 100_000)),))
        with pytest.raises(StoreError, match=r"cannot write to .*: database or disk is full"):
            await store.update_message(long).wait()
        with pytest.raises(StoreError, match="database or disk is full"):
            await store.append_journal(draft.id, "text", 0, "x" * 100_000).wait()
        assert opened.events == []
        assert await store.messages(session_id) == [draft]
        await opened.post_sql("PRAGMA max_page_count = 1000000").wait()
        await store.update_message(long).wait()
        assert (await store.messages(session_id))[0].text == long.text


@pytest.mark.promise("C2")
async def test_a_database_that_cannot_be_written_is_an_error(opened: Opened) -> None:
    """A file that became read-only, here by a pragma, fails each write and no read."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session("kept")
        opened.events.clear()
        await opened.post_sql("PRAGMA query_only = ON").wait()
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            await opened.store.rename_session(session_id, "lost").wait()
        found = await opened.store.session(session_id)
        assert found is not None
        assert found.title == "kept"
    assert opened.events == []


@pytest.mark.promise("C2")
async def test_a_database_locked_for_too_long_is_an_error(on_disk: Opened, tmp_path: Path) -> None:
    """Another program may hold the lock for a while, not for ever."""
    store = on_disk.store
    with (
        trio.fail_after(REAL_LIMIT),
        closing(sqlite3.connect(tmp_path / "data" / "crush.db")) as other,
    ):
        patience = store._writer.post(lambda writing: (setattr(writing, "patience", 0.0), None))
        await patience.wait()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"crush\.db: database is locked"):
            await store.create_session("lost").wait()
        assert on_disk.events == []
        assert await store.sessions() == []
        other.rollback()
        await store.create_session("kept").wait()
    assert on_disk.told() == ["session created kept"]


@pytest.mark.promise("C2")
@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_nothing_is_written_into_a_database_that_was_taken_away(
    on_disk: Opened, tmp_path: Path, how: str
) -> None:
    """As ``git clean -fdx`` does: SQLite would go on in a file that nobody will ever open again."""
    store, data = on_disk.store, tmp_path / "data"
    with trio.fail_after(5):
        session_id = await on_disk.session()
        on_disk.events.clear()
        for file in data.iterdir():
            file.unlink()
        if how == "replaced":
            (data / "crush.db").touch()
        with pytest.raises(StoreError, match=r"crush\.db: the file was removed or replaced"):
            await store.create_message(user(session_id, "lost")).wait()
    assert on_disk.events == []


@pytest.mark.promise("C2", "C3")
async def test_a_transaction_that_cannot_even_be_undone_ends_no_writer(on_disk: Opened) -> None:
    """Whoever waits is told, and what comes when the disk works again is written."""
    store, denied = on_disk.store, {"COMMIT", "ROLLBACK"}

    def check(action: int, operation: str | None, *_: object) -> int:
        is_denied = action == sqlite3.SQLITE_TRANSACTION and operation in denied
        return sqlite3.SQLITE_DENY if is_denied else sqlite3.SQLITE_OK

    def break_disk(writing: WriteConnection) -> tuple[None, None]:
        writing.connection.set_authorizer(check)
        return None, None

    with trio.fail_after(5):
        with pytest.raises(StoreError, match="not authorized"):
            await store._writer.post(break_disk).wait()
        with pytest.raises(StoreError):
            await store.create_session("lost").wait()
        denied.clear()
        await store.create_session("kept").wait()
    assert on_disk.told() == ["session created kept"]


async def test_a_write_waits_while_another_program_writes(on_disk: Opened, tmp_path: Path) -> None:
    """4.1: a locked database is waited for; accepting other jobs goes on meanwhile."""
    store = on_disk.store
    with (
        trio.fail_after(REAL_LIMIT),
        closing(sqlite3.connect(tmp_path / "data" / "crush.db")) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        job = store.create_session("a")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not job.done
        other.rollback()
        await job.wait()


def test_what_has_not_begun_when_the_time_after_closing_is_over_fails() -> None:
    """Closing is bounded: the rest is refused, and its waiters are told why."""
    with closing(connect_writer(":memory:").connection) as connection:
        writing = WriteConnection(connection, "crush.db")
        job: Job[None] = Job(lambda _: (None, None), 0)
        commit(writing, [job], lambda: True)
        assert "the store was closed before this could be written" in repr(job)
        assert not connection.in_transaction


async def test_a_settled_job_keeps_no_message_alive(opened: Opened) -> None:
    """A lane may keep jobs; the messages that they wrote are not theirs to keep."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        marker = "x" * 1_000 + str(id(opened))
        job = opened.store.create_message(user(session_id, marker))
        await job.wait()
        opened.events.clear()
    gc.collect()
    assert not any(marker in repr(held) for held in gc.get_referents(job))
