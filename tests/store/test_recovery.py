"""What a dead process leaves behind is settled at the next open."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import (
    STOP,
    Finish,
    FinishPart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    Text,
    TextPart,
    ToolCall,
    ToolCallPart,
    ToolResult,
    ToolResultPart,
)
from crush_trio.store.journal import Increment, JournalPart
from crush_trio.store.recovery import merge
from crush_trio.wire.events import Event
from limits_kit import PROCESS_LIMIT, REAL_LIMIT
from store_kit import Clock, Opened, assistant, foreign, message, opening, user

CHILD = Path(__file__).parent / "child_process.py"
FINISH = Finish("error", 1_004, "Interrupted", "the server stopped before this answer was finished")


def text(value: str) -> TextPart:
    return TextPart(Text(value))


def thought(value: str) -> ReasoningPart:
    return ReasoningPart(Reasoning(value))


def call(name: str, arguments: str, *, finished: bool) -> ToolCallPart:
    return ToolCallPart(ToolCall(name, "bash", arguments, finished=finished))


def results(messages: list[Message]) -> list[ToolResult]:
    return [result for one in messages for result in one.tool_results]


# --- merging -----------------------------------------------------------------------


@pytest.mark.promise("R10")
@pytest.mark.parametrize(
    ("parts", "increments", "merged"),
    [
        ((), [], ()),
        ((), [("text", 0, "")], ()),
        ((), [("text", 0, "ab"), ("text", 2, "cd")], (text("abcd"),)),
        ((text("abc"),), [("text", 0, "ab"), ("text", 2, "cd")], (text("abcd"),)),
        ((text("abcdef"),), [("text", 0, "ab"), ("text", 2, "cd")], (text("abcdef"),)),
        ((text("a"),), [("text", 5, "lost"), ("text", 9, "!")], (text("a"),)),
        ((), [("reasoning", 0, "hm"), ("text", 0, "a")], (thought("hm"), text("a"))),
        ((), [("text", 0, "a"), ("reasoning", 0, "hm")], (thought("hm"), text("a"))),
        ((thought("h"),), [("reasoning", 1, "m"), ("text", 0, "a")], (thought("hm"), text("a"))),
        (
            (thought("h"), call("c", "{", finished=False)),
            [("text", 0, "\N{SNOWMAN}a"), ("text", 2, "b")],
            (thought("h"), text("\N{SNOWMAN}ab"), call("c", "{", finished=False)),
        ),
    ],
)
def test_journalled_text_is_added_beyond_what_is_stored(
    parts: tuple[Part, ...],
    increments: list[tuple[JournalPart, int, str]],
    merged: tuple[Part, ...],
) -> None:
    """Offsets are characters of a part; a gap ends what is certain; new parts go in order."""
    assert merge(parts, [Increment(*one, written_at=0) for one in increments]) == merged


# --- at the next open ------------------------------------------------------------------


@pytest.mark.promise("C1")
@pytest.mark.promise("R9")
async def test_an_interrupted_answer_is_finished_with_its_text(tmp_path: Path) -> None:
    """0.0: reasoning closed, calls closed and answered, one finish, and nothing in the journal."""
    events: list[Event] = []
    clock = Clock()
    with trio.fail_after(REAL_LIMIT):
        async with opening("file", tmp_path, events, clock) as store:
            opened = Opened(store, events, clock)
            session_id = await opened.session()
            draft = assistant(session_id)
            await store.create_message(user(session_id, "hi")).wait()
            await store.create_message(draft).wait()
            clock.now = 1_002.0
            parts = (
                thought("let me"),
                text("I'll lo"),
                call("done", '{"a":1}', finished=True),
                call("open", '{"a', finished=False),
            )
            said = msgspec.structs.replace(draft, parts=parts)
            await store.update_message(said, streaming=True).wait()
            answer = ToolResultPart(ToolResult("done", "bash", "ok"))
            await store.create_message(message(session_id, "tool", answer, STOP)).wait()
            await store.append_journal(draft.id, "reasoning", 6, " think").wait()
            clock.now = 1_004.0
            await store.append_journal(draft.id, "text", 7, "ok").wait()
        events.clear()
        clock.now = 2_000.0
        async with opening("file", tmp_path, events, clock) as store:
            opened = Opened(store, events, clock)
            question, settled, *tools = await store.messages(session_id)
            assert question.text == "hi"
            assert settled.parts == (
                ReasoningPart(Reasoning("let me think", finished_at=1_004)),
                text("I'll look"),
                call("done", '{"a":1}', finished=True),
                call("open", "{}", finished=True),
                FinishPart(FINISH),
            )
            assert results(tools) == [
                ToolResult("done", "bash", "ok"),
                ToolResult(
                    "open", "bash", "There was an error while executing the tool", is_error=True
                ),
            ]
            assert tools[1].role == "tool"
            assert tools[1].parts[-1] == STOP
            assert await opened.rows("SELECT * FROM crush_trio_journal") == []
            finished = "SELECT finished_at FROM messages WHERE id = ?"
            assert await opened.rows(finished, draft.id) == [(1_004,)]
            await store.create_message(user(session_id, "go on", at=2_000)).wait()
            assert (await store.messages(session_id))[-1].text == "go on"
    assert [told for told in opened.told() if "updated" in told] == []


@pytest.mark.promise("R10")
async def test_text_that_was_withdrawn_does_not_come_back(tmp_path: Path) -> None:
    """A retry stores the answer without it; older increments are worthless from then on."""
    clock = Clock()
    with trio.fail_after(REAL_LIMIT):
        async with opening("file", tmp_path, [], clock) as store:
            session_id = await Opened(store, [], clock).session()
            draft = assistant(session_id)
            await store.create_message(draft).wait()
            await store.append_journal(draft.id, "text", 0, "withdrawn text").wait()
            await store.update_message(draft).wait()
            await store.append_journal(draft.id, "text", 0, "again").wait()
        async with opening("file", tmp_path, [], clock) as store:
            (settled,) = await store.messages(session_id)
    assert settled.text == "again"


@pytest.mark.promise("C1")
async def test_unfinished_messages_of_others_are_left_alone(tmp_path: Path) -> None:
    """Crush in its local mode takes no lock: what our journal does not name may be alive."""
    clock = Clock()
    with trio.fail_after(REAL_LIMIT):
        async with opening("file", tmp_path, [], clock) as store:
            session_id = await Opened(store, [], clock).session()
            await store.create_message(assistant(session_id)).wait()
        foreign(
            tmp_path,
            "INSERT INTO messages (id, session_id, role, parts, created_at, updated_at)"
            f" VALUES ('theirs', '{session_id}', 'assistant', '[]', 1001, 1001)",
        )
        async with opening("file", tmp_path, [], clock) as store:
            ours, theirs = await store.messages(session_id)
    assert theirs.id == "theirs"
    assert theirs.parts == ()
    assert ours.finish is not None


async def test_an_interrupted_message_that_cannot_be_read_does_not_keep_the_store_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays as it is, is logged, and is not tried again; the others are settled."""
    clock = Clock()
    with trio.fail_after(REAL_LIMIT):
        async with opening("file", tmp_path, [], clock) as store:
            opened = Opened(store, [], clock)
            one, two = await opened.session(), await opened.session()
            broken, draft = assistant(one), assistant(two)
            odd = message(two, "tool", STOP)
            for created in (broken, draft, odd):
                await store.create_message(created).wait()
            await opened.post_sql(
                f"UPDATE messages SET parts = '[{{\"type\":\"?\"}}]' WHERE id != '{draft.id}'"
            ).wait()
        async with opening("file", tmp_path, [], clock) as store:
            opened = Opened(store, [], clock)
            settled = "SELECT id FROM messages WHERE finished_at IS NOT NULL"
            assert await opened.rows(settled) == [(draft.id,)]
            assert await opened.rows("SELECT * FROM crush_trio_journal") == []
    assert broken.id in caplog.text


@pytest.mark.promise("C1")
async def test_a_finished_message_that_is_still_named_keeps_its_finish(tmp_path: Path) -> None:
    """Finished by another program meanwhile: only the name goes."""
    clock = Clock()
    done = '[{"type":"finish","data":{"reason":"end_turn","time":7}}]'
    with trio.fail_after(REAL_LIMIT):
        async with opening("file", tmp_path, [], clock) as store:
            session_id = await Opened(store, [], clock).session()
            await store.create_message(assistant(session_id)).wait()
        foreign(tmp_path, f"UPDATE messages SET parts = '{done}'")
        async with opening("file", tmp_path, [], clock) as store:
            (found,) = await store.messages(session_id)
            assert await Opened(store, [], clock).rows("SELECT * FROM crush_trio_journal") == []
    assert found.parts == (FinishPart(Finish("end_turn", 7)),)


@pytest.mark.promise("C1")
async def test_a_message_that_another_program_deleted_does_not_keep_the_store_closed(
    tmp_path: Path,
) -> None:
    """Most programs do not enforce foreign keys, so our journal goes on naming it."""
    clock = Clock()
    with trio.fail_after(5):
        async with opening("file", tmp_path, [], clock) as store:
            session_id = await Opened(store, [], clock).session()
            deleted, draft = assistant(session_id), assistant(session_id)
            await store.create_message(deleted).wait()
            await store.create_message(draft).wait()
            await store.append_journal(deleted.id, "text", 0, "gone").wait()
        careless = "PRAGMA foreign_keys = OFF"
        foreign(tmp_path, careless, f"DELETE FROM messages WHERE id = '{deleted.id}'")
        async with opening("file", tmp_path, [], clock) as store:
            (settled,) = await store.messages(session_id)
            assert await Opened(store, [], clock).rows("SELECT * FROM crush_trio_journal") == []
    assert settled.id == draft.id
    assert settled.finish is not None


@pytest.mark.promise("C1")
@pytest.mark.promise("R9")
async def test_a_result_of_an_earlier_step_answers_no_interrupted_call(tmp_path: Path) -> None:
    """Some models number their calls anew in each step, so an id alone does not tell."""
    clock = Clock()
    with trio.fail_after(5):
        async with opening("file", tmp_path, [], clock) as store:
            session_id = await Opened(store, [], clock).session()
            asked = call("call_0", "{}", finished=True)
            answer = ToolResultPart(ToolResult("call_0", "bash", "ok"))
            for each in (
                assistant(session_id, asked, FinishPart(Finish("tool_use", 1_000))),
                message(session_id, "tool", answer, STOP),
                assistant(session_id, asked),
            ):
                await store.create_message(each).wait()
        async with opening("file", tmp_path, [], clock) as store:
            _, first, _, *second = await store.messages(session_id)
    assert results([first]) == [ToolResult("call_0", "bash", "ok")]
    assert [(result.tool_call_id, result.is_error) for result in results(second)] == [
        ("call_0", True)
    ]


# --- a real death -----------------------------------------------------------------------


@pytest.mark.promise("C1")
@pytest.mark.parametrize("commits", [1, 60])
async def test_kill_9_in_mid_stream_loses_no_committed_text(tmp_path: Path, commits: int) -> None:
    """A process that is killed while it writes: every piece it saw committed is in the answer."""
    with trio.fail_after(PROCESS_LIMIT):
        lines = await killed_after(tmp_path, commits)
        confirmed = int(lines[-1])
        async with opening("file", tmp_path, [], Clock()) as store:
            messages = await store.messages(SessionID("s"))
            question, settled, *tools = messages
            assert question.id == "u"
            assert settled.id == MessageID("a")
            assert settled.finish is not None
            assert (settled.finish.reason, settled.finish.message) == ("error", "Interrupted")
            said = expected(len(settled.text))
            assert settled.text == said
            assert len(said) >= confirmed
            reasoning = settled.parts[0]
            assert isinstance(reasoning, ReasoningPart)
            assert reasoning.data.thinking == "let me think"
            assert reasoning.data.finished_at
            calls = [one.id for one in settled.tool_calls]
            assert [result.tool_call_id for result in results(tools)] == calls
            assert all(one.finished and one.input == "{}" for one in settled.tool_calls)
            await store.create_message(user(SessionID("s"), "go on")).wait()
    assert foreign(tmp_path, "PRAGMA integrity_check") == [("ok",)]


async def killed_after(directory: Path, commits: int) -> list[str]:
    """Run a process that streams an answer, kill it after some commits, return what it said."""
    said = b""
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdout=subprocess.PIPE, check=False)
        command = [sys.executable, str(CHILD), str(directory), "stream"]
        process: trio.Process = await nursery.start(run, command)
        assert process.stdout is not None
        async for chunk in process.stdout:
            said += chunk
            if said.count(b"\n") > commits:
                process.kill()  # what it said before it died is still read
    assert process.returncode == -9
    return said.decode().split("\n")[1:-1]


def expected(length: int) -> str:
    """Return the beginning of the answer that the process writes."""
    said = ""
    while len(said) < length:
        said += f"{len(said)} "
    return said
