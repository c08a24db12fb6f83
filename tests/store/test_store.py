"""The contract of a store, over the real one and its twin."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from crush_trio.errors import StoreError, UnknownSessionError
from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import (
    STOP,
    Binary,
    BinaryPart,
    Finish,
    FinishPart,
    ImageURL,
    ImageURLPart,
    Reasoning,
    ReasoningPart,
    ShellCommand,
    ShellCommandPart,
    Text,
    TextPart,
    ToolCall,
    ToolCallPart,
    ToolResult,
    ToolResultPart,
)
from crush_trio.store import Job
from crush_trio.wire.events import Event, File
from crush_trio.wire.sessions import Session, Todo
from limits_kit import REAL_LIMIT
from store_kit import KINDS, Clock, Kind, Opened, assistant, message, opening, user

NOBODY = SessionID("nobody")
END = FinishPart(Finish("end_turn", 1_001))


def text(value: str) -> TextPart:
    return TextPart(Text(value))


@pytest.fixture(params=KINDS)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Opened]:
    kind: Kind = request.param
    events: list[Event] = []
    clock = Clock()
    async with opening(kind, tmp_path / "data", events, clock) as store:
        yield Opened(store, events, clock)


# --- sessions ------------------------------------------------------------------------


async def test_a_created_session_is_told_and_listed(opened: Opened) -> None:
    """R-15: the server makes the id, the event is `session` / `created`."""
    with trio.fail_after(REAL_LIMIT):
        session = await opened.store.create_session("New Session").wait()
        assert session == Session(
            session.id, title="New Session", created_at=1_000, updated_at=1_000
        )
        assert await opened.store.sessions() == [session]
        assert [event.payload for event in opened.events] == [session]
        assert opened.told() == ["session created New Session"]


async def test_child_sessions_are_found_by_id_and_not_listed(opened: Opened) -> None:
    """R-14, R-16: the list has sessions without a parent only; reading works for children."""
    with trio.fail_after(REAL_LIMIT):
        parent = await opened.session()
        child = SessionID("m$$call")
        await opened.store.create_session("child", session_id=child, parent=parent).wait()
        found = await opened.store.session(child)
        assert found is not None
        assert found.parent_session_id == parent
        assert [session.id for session in await opened.store.sessions()] == [parent]
        assert await opened.store.session(NOBODY) is None


async def test_sessions_are_listed_with_the_one_changed_last_first(opened: Opened) -> None:
    """R-14, done better than Crush: within one second the newest comes first."""
    with trio.fail_after(REAL_LIMIT):
        first, second, third = [await opened.session(title) for title in ("a", "b", "c")]
        assert [one.id for one in await opened.store.sessions()] == [third, second, first]
        opened.clock.now = 1_005.0
        await opened.store.create_message(user(first, "hello")).wait()
        assert [one.id for one in await opened.store.sessions()] == [first, third, second]


async def test_a_rename_keeps_counters_and_summary(opened: Opened) -> None:
    """R-17: Crush zeroes them by mistake; title, todos and cost are all that a rename sets."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        await opened.store.add_usage(
            session_id, prompt_tokens=7, completion_tokens=3, cost=0.5
        ).wait()
        await opened.post_sql("UPDATE sessions SET summary_message_id = 'sm'").wait()
        opened.clock.now = 1_009.0
        renamed = await opened.store.rename_session(session_id, "Fix it").wait()
        assert renamed == Session(
            session_id,
            title="Fix it",
            prompt_tokens=7,
            completion_tokens=3,
            summary_message_id="sm",
            cost=0.5,
            created_at=1_000,
            updated_at=1_009,
        )
        assert opened.told()[-1] == "session updated Fix it"
        assert await opened.store.session(session_id) == renamed


async def test_todos_are_set_cleared_or_left_alone(opened: Opened) -> None:
    """3.8: an empty list is left out on the wire and null in the database."""
    with trio.fail_after(REAL_LIMIT):
        store = opened.store
        session_id = await opened.session()
        todos = (Todo("Run tests", "in_progress", "Running tests"),)
        assert (await store.rename_session(session_id, "a", todos=todos).wait()).todos == todos
        stored = '[{"content":"Run tests","status":"in_progress","active_form":"Running tests"}]'
        assert await opened.rows("SELECT todos FROM sessions") == [(stored,)]
        kept = await store.rename_session(session_id, "b", cost=1.5).wait()
        assert (kept.todos, kept.cost) == (todos, 1.5)
        for nothing in ((), None):
            await store.rename_session(session_id, "c", todos=todos).wait()
            cleared = await store.rename_session(session_id, "d", todos=nothing).wait()
            assert (cleared.todos, cleared.cost) == (msgspec.UNSET, 1.5)
            assert await opened.rows("SELECT todos FROM sessions") == [(None,)]


async def test_usage_replaces_counters_and_a_title_adds_to_them(opened: Opened) -> None:
    """agent.md 1.13 and 1.14: a zero replaces nothing, and cost always adds up."""
    with trio.fail_after(REAL_LIMIT):
        store = opened.store
        session_id = await opened.session("old")
        await store.add_usage(session_id, prompt_tokens=100, completion_tokens=10, cost=0.5).wait()
        await store.add_usage(session_id, prompt_tokens=200, completion_tokens=0, cost=0.25).wait()
        await store.set_title(session_id, "new", prompt_tokens=5, cost=0.125).wait()
        session = await store.session(session_id)
        assert session is not None
        assert (session.prompt_tokens, session.completion_tokens) == (205, 10)
        assert (session.title, session.cost) == ("new", 0.875)
        assert opened.told()[1:] == ["session updated old"] * 2 + ["session updated new"]


async def test_deleting_a_session_takes_its_rows_and_spares_its_children(opened: Opened) -> None:
    """R-18: the event is the full old session, and there are no events of its messages."""
    with trio.fail_after(REAL_LIMIT):
        store = opened.store
        session_id, other = await opened.session("gone"), await opened.session("other")
        child = SessionID("m$$call")
        await store.create_session("child", session_id=child, parent=session_id).wait()
        await store.create_message(user(session_id, "hello")).wait()
        await store.create_message(assistant(session_id)).wait()
        await store.create_message(user(child, "do it")).wait()
        await store.add_file_version(session_id, "/p/a.py", "x").wait()
        await store.record_read(session_id, "/p/a.py").wait()
        before = await store.session(session_id)
        opened.events.clear()
        deleted = await store.delete_session(session_id).wait()
        assert deleted == before
        assert deleted.message_count == 2
        assert [(event.change, event.payload) for event in opened.events] == [("deleted", before)]
        assert await store.session(session_id) is None
        assert await store.messages(session_id) == []
        assert await store.file_versions(session_id) == []
        assert await store.read_files(session_id) == []
        assert await opened.rows("SELECT * FROM crush_trio_journal") == []
        assert len(await store.messages(child)) == 1
        assert [one.id for one in await store.sessions()] == [other]


async def test_writes_for_an_unknown_session_fail_and_tell_nothing(opened: Opened) -> None:
    """A job for a session that does not exist fails alone, and publishes nothing."""
    store = opened.store
    with trio.fail_after(REAL_LIMIT):
        for job in (
            store.rename_session(NOBODY, "x"),
            store.set_title(NOBODY, "x"),
            store.add_usage(NOBODY, prompt_tokens=1, completion_tokens=1, cost=0),
            store.delete_session(NOBODY),
            store.create_message(user(NOBODY, "x")),
            store.record_read(NOBODY, "/x"),
            store.add_file_version(NOBODY, "/x", "x"),
        ):
            with pytest.raises(UnknownSessionError, match="'nobody'"):
                await job.wait()
            assert job.done
    assert opened.events == []


# --- messages ------------------------------------------------------------------------


async def test_every_kind_of_part_comes_back_as_it_was(opened: Opened) -> None:
    """agent.md 4.4: the stored form keeps what the wire leaves out."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        written = [
            message(
                session_id,
                "user",
                text("What's this? \N{SNOWMAN}"),
                BinaryPart(Binary("shot.png", "image/png", b"\x00\xff")),
                ImageURLPart(ImageURL("https://example.org/a.png")),
                STOP,
            ),
            message(session_id, "user", ShellCommandPart(ShellCommand("ls", "a\n", 1)), STOP),
            msgspec.structs.replace(
                assistant(
                    session_id,
                    ReasoningPart(Reasoning("hm", "s", "ts", "t", {"a": [1]}, 1, 2)),
                    text("answer"),
                    ToolCallPart(ToolCall("c", "bash", "{}", True, True)),
                    END,
                ),
                model="m",
                provider="p",
                is_summary_message=True,
            ),
            message(
                session_id,
                "tool",
                ToolResultPart(ToolResult("c", "bash", "out", "aGk=", "image/png", "{}", True)),
                STOP,
            ),
        ]
        for one in written:
            await opened.store.create_message(one).wait()
        assert await opened.store.messages(session_id) == written
        columns = "SELECT role, model, provider, finished_at FROM messages ORDER BY rowid"
        assert await opened.rows(columns) == [
            ("user", "", None, None),
            ("user", "", None, None),
            ("assistant", "m", "p", 1_001),
            ("tool", "", None, None),
        ]


async def test_messages_come_by_time_and_then_as_they_were_inserted(opened: Opened) -> None:
    """R-20: times have a resolution of one second; insertion decides within it."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        for at, said in ((5, "e"), (3, "a"), (3, "b"), (4, "d"), (3, "c")):
            await opened.store.create_message(user(session_id, said, at=at)).wait()
        assert "".join(one.text for one in await opened.store.messages(session_id)) == "abcde"
        assert await opened.store.messages(NOBODY) == []


async def test_user_messages_come_newest_first(opened: Opened) -> None:
    """R-21, R-22, done better than Crush: newest first also within one second."""
    with trio.fail_after(REAL_LIMIT):
        one, two = await opened.session(), await opened.session()
        for session_id, said in ((one, "a"), (two, "b"), (one, "c")):
            await opened.store.create_message(user(session_id, said)).wait()
            await opened.store.create_message(assistant(session_id, text("no"), END)).wait()
        of_one = await opened.store.user_messages(one)
        assert [found.text for found in of_one] == ["c", "a"]
        of_all = await opened.store.user_messages()
        assert [found.text for found in of_all] == ["c", "b", "a"]


async def test_an_update_stores_parts_and_finish_time(opened: Opened) -> None:
    """agent.md 4.5: the event carries the message as given, the row the time of the write."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        draft = assistant(session_id)
        await opened.store.create_message(draft).wait()
        opened.clock.now = 1_007.0
        said = msgspec.structs.replace(draft, parts=(text("hel"),))
        done = msgspec.structs.replace(draft, parts=(text("hello"), END))
        opened.store.update_message(said, streaming=True)
        await opened.store.update_message(done).wait()
        assert opened.told()[1:] == [
            "message created ",
            "message updated hel",
            "message updated hello",
        ]
        assert [(event.streaming, event.message_id) for event in opened.events[1:]] == [
            (False, None),
            (True, draft.id),
            (False, draft.id),
        ]
        stored = msgspec.structs.replace(done, updated_at=1_007)
        assert await opened.store.messages(session_id) == [stored]
        assert await opened.rows("SELECT finished_at FROM messages") == [(1_001,)]


@pytest.mark.promise("C2")
async def test_an_update_of_a_message_that_is_not_stored_fails(opened: Opened) -> None:
    """Nothing is reported as stored that is not: no row was updated, so no event is due."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        lost = assistant(session_id, text("x"))
        with pytest.raises(StoreError, match=f"message '{lost.id}' is not in the store"):
            await opened.store.update_message(lost).wait()
    assert opened.told() == ["session created New Session"]


@pytest.mark.promise("C1")
async def test_the_journal_names_exactly_the_unfinished_answers(opened: Opened) -> None:
    """Rows come with the creation and go with the finish; nobody else's message is named."""
    named = "SELECT message_id, text FROM crush_trio_journal ORDER BY rowid"
    with trio.fail_after(REAL_LIMIT):
        store = opened.store
        session_id = await opened.session()
        draft = assistant(session_id)
        await store.create_message(user(session_id, "hi")).wait()
        await store.create_message(assistant(session_id, END)).wait()
        await store.create_message(draft).wait()
        assert await opened.rows(named) == [(draft.id, "")]
        told = len(opened.events)
        await store.append_journal(draft.id, "text", 0, "hel").wait()
        await store.append_journal(draft.id, "text", 3, "lo").wait()
        assert await opened.rows(named) == [(draft.id, ""), (draft.id, "hel"), (draft.id, "lo")]
        assert len(opened.events) == told
        said = msgspec.structs.replace(draft, parts=(text("hello"),))
        await store.update_message(said, streaming=True).wait()
        assert await opened.rows(named) == [(draft.id, "")]
        await store.append_journal(draft.id, "text", 5, "!").wait()
        await store.update_message(
            msgspec.structs.replace(draft, parts=(text("hello!"), END))
        ).wait()
        assert await opened.rows(named) == []
        with pytest.raises(StoreError, match="is not being written"):
            await store.append_journal(draft.id, "text", 6, "?").wait()


async def test_a_message_that_cannot_be_read_is_named(opened: Opened) -> None:
    """A part of an unknown type breaks the list loudly, with the message's id."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        strange = user(session_id, "x")
        await opened.store.create_message(strange).wait()
        await opened.post_sql(
            """UPDATE messages SET parts = '[{"type":"hologram","data":{}}]'"""
        ).wait()
        for reading in (opened.store.messages, opened.store.user_messages):
            with pytest.raises(StoreError, match=f"message '{strange.id}' of session .*hologram"):
                await reading(session_id)


# --- files ----------------------------------------------------------------------------


async def test_file_versions_count_across_sessions(opened: Opened) -> None:
    """agent.md 4.6: 0 at first, then one above the highest version of that path in any session."""
    with trio.fail_after(REAL_LIMIT):
        store = opened.store
        one, two = await opened.session(), await opened.session()
        opened.events.clear()
        made = [
            await store.add_file_version(session_id, path, content).wait()
            for session_id, path, content in (
                (one, "/p/a", "0"),
                (two, "/p/a", "0"),
                (one, "/p/b", "0"),
                (one, "/p/a", "1"),
                (two, "/p/a", "2"),
            )
        ]
        assert [(file.path, file.version) for file in made] == [
            ("/p/a", 0),
            ("/p/a", 0),
            ("/p/b", 0),
            ("/p/a", 1),
            ("/p/a", 2),
        ]
        assert made[0] == File(made[0].id, one, "/p/a", "0", 0, 1_000, 1_000)
        assert [event.payload for event in opened.events] == made
        assert opened.told() == ["file created"] * 5
        assert await store.file_versions(one) == [made[0], made[2], made[3]]
        assert await store.latest_file(one, "/p/a") == made[3]
        assert await store.latest_file(two, "/p/a") == made[4]
        assert await store.latest_file(two, "/p/b") is None


async def test_read_files_come_with_the_latest_first(opened: Opened) -> None:
    """R-23, R-25: the last read counts; reads of one second keep their order."""
    with trio.fail_after(REAL_LIMIT):
        store = opened.store
        session_id = await opened.session()
        opened.events.clear()
        for path in ("/p/a", "/p/b", "/p/c"):
            await store.record_read(session_id, path).wait()
        await store.record_read(session_id, "/p/a").wait()
        assert await store.read_files(session_id) == ["/p/a", "/p/c", "/p/b"]
        opened.clock.now = 1_003.0
        await store.record_read(session_id, "/p/b").wait()
        assert await store.read_files(session_id) == ["/p/b", "/p/a", "/p/c"]
        assert await store.last_read(session_id, "/p/b") == 1_003
        assert await store.last_read(session_id, "/p/z") is None
        assert await store.read_files(NOBODY) == []
    assert opened.events == []


async def test_a_file_of_a_disk_that_is_ahead_counts_as_read_when_it_was_modified(
    opened: Opened,
) -> None:
    """Ours: else it would be modified after every read, and no tool could ever change it."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        await opened.store.record_read(session_id, "/p/a", modified=5_000).wait()
        await opened.store.record_read(session_id, "/p/b", modified=5).wait()
        assert await opened.store.last_read(session_id, "/p/a") == 5_000
        assert await opened.store.last_read(session_id, "/p/b") == 1_000


async def test_versions_go_on_where_crush_left_them(opened: Opened) -> None:
    """Agent contract 4.6: its rows are ours, also the old content that it stores twice."""
    with trio.fail_after(REAL_LIMIT):
        one, two = await opened.session(), await opened.session()
        rows = [(one, 0, "old"), (one, 1, "old"), (one, 2, "new"), (two, 0, "new"), (two, 3, "3")]
        for number, (session_id, version, content) in enumerate(rows):
            await opened.post_sql(
                "INSERT INTO files (id, session_id, path, content, version, created_at, updated_at)"
                f" VALUES ('f{number}', '{session_id}', '/p/a', '{content}', {version}, 7, 8)"
            ).wait()
        assert await opened.store.latest_file(one, "/p/a") == File(
            "f2", one, "/p/a", "new", 2, 7, 8
        )
        made = await opened.store.add_file_version(one, "/p/a", "newer").wait()
        assert made.version == 4
        assert [file.version for file in await opened.store.file_versions(one)] == [0, 1, 2, 4]
        columns = "id, session_id, path, content, version, created_at, updated_at"
        assert await opened.rows("SELECT * FROM files WHERE id = ?", made.id) == (
            await opened.rows(f"SELECT {columns} FROM files WHERE id = ?", made.id)
        )


async def test_relative_paths_of_crush_are_not_given_out(opened: Opened) -> None:
    """R-23: the list is of absolute paths; Crush's relative ones belong to a process that is gone."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        await opened.store.record_read(session_id, "/p/a").wait()
        await opened.post_sql(
            "INSERT INTO read_files SELECT session_id, 'src/b', read_at FROM read_files"
        ).wait()
        assert await opened.store.read_files(session_id) == ["/p/a"]


# --- writing and reading in general ------------------------------------------------------


async def test_waits_and_reads_are_checkpoints(opened: Opened) -> None:
    """A wait checkpoints also when the job is done; so the twin has the same cancel points."""
    with trio.fail_after(REAL_LIMIT):
        job = opened.store.create_session("a")
        await job.wait()
        assert job.done
        with trio.testing.assert_checkpoints():
            await job.wait()
        with trio.testing.assert_checkpoints():
            await opened.store.sessions()


async def test_a_write_is_not_done_before_the_next_checkpoint(opened: Opened) -> None:
    """Accepting is sync and publishes nothing yet: no caller is surprised in its own frame."""
    with trio.fail_after(REAL_LIMIT):
        with trio.testing.assert_no_checkpoints():
            job = opened.store.create_session("a")
            assert not job.done
            assert opened.events == []
        await job.wait()
        assert job.done
        assert opened.told() == ["session created a"]


async def test_a_cancelled_wait_neither_undoes_the_write_nor_loses_its_event(
    opened: Opened,
) -> None:
    """The event is the job's, not its waiter's."""
    with trio.fail_after(REAL_LIMIT):
        with trio.CancelScope() as scope:
            scope.cancel()
            await opened.store.create_session("a").wait()
        assert scope.cancelled_caught
        await opened.store.current_session(NOBODY).wait()  # behind it in the queue
        assert opened.told() == ["session created a"]
        assert len(await opened.store.sessions()) == 1


async def test_our_own_writes_are_not_foreign(opened: Opened) -> None:
    """The number changes only when another program wrote."""
    with trio.fail_after(REAL_LIMIT):
        before = opened.store.foreign_changes
        session_id = await opened.session()
        await opened.store.create_message(user(session_id, "x")).wait()
        await opened.store.current_session(session_id).wait()
        assert opened.store.foreign_changes == before


@pytest.mark.promise("C2")
async def test_what_cannot_be_told_is_not_stored(opened: Opened) -> None:
    """Half a surrogate pair fits neither the database nor an event: the write fails."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await opened.session()
        broken = assistant(session_id, text("\ud800"))
        with pytest.raises(StoreError, match="surrogates"):
            await opened.store.create_message(broken).wait()
        assert await opened.store.messages(session_id) == []
    assert opened.told() == ["session created New Session"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_closed_store_accepts_nothing(kind: Kind, tmp_path: Path) -> None:
    """Posting after close raises at once: a job that nobody runs would never settle."""
    with trio.fail_after(REAL_LIMIT):
        async with opening(kind, tmp_path, [], Clock()) as store:
            pass
        with pytest.raises(StoreError, match="the store is closed"):
            store.create_session("late")
        with pytest.raises(StoreError, match="the store is closed"):
            store.append_journal(MessageID("m"), "text", 0, "x")


@pytest.mark.parametrize("kind", KINDS)
async def test_closing_writes_what_was_posted_before(kind: Kind, tmp_path: Path) -> None:
    """Also when the block is left by a cancel: every job is done and told, in order."""
    events: list[Event] = []
    jobs: list[Job[Session]] = []
    with trio.fail_after(REAL_LIMIT):
        with trio.CancelScope() as scope:
            async with opening(kind, tmp_path, events, Clock()) as store:
                jobs += [store.create_session(str(number)) for number in range(1_500)]
                scope.cancel()
                await trio.sleep_forever()
        assert all(job.done for job in jobs)
        titles = [event.payload.title for event in events if isinstance(event.payload, Session)]
        assert titles == [str(number) for number in range(1_500)]
        assert [(await job.wait()).title for job in jobs[-2:]] == ["1498", "1499"]
