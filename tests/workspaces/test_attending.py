"""Runs of which nobody can be asked, users' commands, summaries and questions in a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import Town, accepted, check_history, open_town, scripted, told
from crush_trio.errors import (
    AgentMissingError,
    BadRequestError,
    SessionBusyError,
    WorkspaceClosingError,
)
from crush_trio.hub import Wish
from crush_trio.ids import ClientID, RunID, SessionID
from crush_trio.messages import Prompt, ShellCommand
from crush_trio.providers.scripted import Call, Hang, Pause, Say
from crush_trio.runs import Run
from crush_trio.tools.scripted import SLEEP_FOREVER, Script, ScriptedShell
from crush_trio.wire.events import Event, PermissionNotification
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import QuestionRequest
from crush_trio.wire.streams import Hello
from crush_trio.workspaces import Workspace

ASK = Call("question", {"questions": [{"type": "yes_no", "question": "Sure?", "description": "d"}]})
T = TypeVar("T")
WRITE = Call("write", {"file_path": "made.txt", "content": "x"})


def submit(
    workspace: Workspace,
    session_id: SessionID,
    *,
    run_id: str | None = None,
    interactive: bool | None = None,
) -> Run:
    """Prompt as a route does."""
    wanted = workspace.agent_setup.is_interactive(interactive, has_run_id=run_id is not None)
    prompt = Prompt("hello", interactive=wanted)
    identity = None if run_id is None else RunID(run_id)
    return accepted(workspace.submit(session_id, prompt, identity))


async def until_asked(workspace: Workspace) -> PermissionRequest:
    """Wait for an open permission request."""
    return await _until(workspace, PermissionRequest)


async def until_questioned(workspace: Workspace) -> QuestionRequest:
    """Wait for an open batch of questions."""
    return await _until(workspace, QuestionRequest)


async def _until(workspace: Workspace, type_: type[T]) -> T:
    with workspace.attach(ClientID("watcher")) as stream:
        while True:
            for event in await stream.receive():
                if isinstance(event.payload, type_):
                    return event.payload


def offered(town: Town, number: int) -> set[str]:
    """Return the names of the tools that a request offered."""
    return {spec.name for spec in scripted(town.model).requests[number].tools}


# --- who can be asked (wire contract 0, R-37) ----------------------------------------------------


async def test_who_is_interactive_is_decided_for_each_prompt(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The prompt's own word, else a run id after an init with false; an init with true undoes nothing."""
    async with open_town(tmp_path) as town:
        workspace = await town.open()
        assert workspace.agent_setup.is_interactive(None, has_run_id=True)
        await workspace.agent_setup.init(interactive=False)
        await workspace.agent_setup.init(interactive=True)
        assert not workspace.agent_setup.is_interactive(None, has_run_id=True)
        assert workspace.agent_setup.is_interactive(None, has_run_id=False)
        assert workspace.agent_setup.is_interactive(True, has_run_id=True)
        assert not workspace.agent_setup.is_interactive(False, has_run_id=False)


async def test_a_run_that_nobody_attends_to_asks_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It has no question tool and its permissions are granted; a run beside it is asked as ever."""
    async with open_town(tmp_path, [WRITE], "done", [WRITE], "done") as town:
        workspace = await town.open()
        first, second = await town.session(workspace), await town.session(workspace)
        run = submit(workspace, first, run_id="r1", interactive=False)
        await run.finished.wait()
        assert (run.outcome, run.text) == ("completed", "done")
        assert (town.directory / "made.txt").read_text() == "x"
        assert "question" not in offered(town, 0)
        (town.directory / "made.txt").unlink()
        beside = submit(workspace, second)
        request = await until_asked(workspace)
        assert "question" in offered(town, 2)
        workspace.permissions.answer(request.id, "deny")
        await beside.finished.wait()


async def test_unattended_permissions_can_be_denied_by_the_configuration(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """``permissions.unattended`` is ``deny``: the model is told why, and can say so to the user."""
    config = {"permissions": {"unattended": "deny"}}
    async with open_town(tmp_path, [WRITE], "I may not.", config=config) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        run = submit(workspace, session, run_id="r1", interactive=False)
        await run.finished.wait()
        messages = await workspace.data.store.messages(session)
        (result,) = messages[2].tool_results
        assert result.is_error
        assert "permissions.unattended is 'deny'" in result.content
        assert (run.outcome, run.text) == ("completed", "I may not.")
        assert not (town.directory / "made.txt").exists()


async def test_a_person_who_joins_an_unattended_run_is_asked(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Permissions after their prompt has folded in are theirs to grant (wire contract 0, R-37)."""
    script = [[Pause(5), Call("ls", {})], [WRITE], "done"]
    async with open_town(tmp_path, *script) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        run = submit(workspace, session, run_id="r1", interactive=False)
        joined = submit(workspace, session)
        request = await until_asked(workspace)
        assert joined.folded_into is run
        workspace.permissions.answer(request.id, "allow")
        await run.finished.wait()


# --- questions ------------------------------------------------------------------------------------


@pytest.mark.promise("D2")
async def test_a_stream_begins_with_the_questions_that_are_open(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """As an event for one without ids, in the hello for one with ids, which replays none (D2)."""
    async with open_town(tmp_path, [ASK], "done") as town:
        workspace = await town.open()
        session = await town.session(workspace)
        begun = workspace.hub.last_id
        run = submit(workspace, session)
        batch = await until_questioned(workspace)
        with workspace.attach(ClientID("b")) as stream:
            (event,) = await stream.receive()
            assert (event.type, event.payload) == ("question_batch_request", batch)
        with workspace.attach(ClientID("b"), Wish(after=begun)) as stream:
            hello = (await stream.receive())[0].payload
            assert isinstance(hello, Hello)
            assert hello.questions == (batch,)
            chunk = await stream.receive_chunk()
            assert b"question_batch_request" not in chunk
        assert workspace.questions.answer(())
        await run.finished.wait()
        with workspace.attach(ClientID("b"), Wish()) as stream:
            hello = (await stream.receive())[0].payload
            assert isinstance(hello, Hello)
            assert hello.questions == ()


@pytest.mark.promise("D3")
async def test_a_cancelled_run_s_questions_are_withdrawn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Every client is told, before the end of the run (D3)."""
    async with open_town(tmp_path, [ASK]) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with workspace.attach(ClientID("b")) as stream:
            run = submit(workspace, session)
            await until_questioned(workspace)
            workspace.cancel(session)
            await run.finished.wait()
            types = [event.type for event in await stream.receive()]
        assert types.index("question_batch_notification") < types.index("run_complete")
        assert not workspace.questions.answer(())
        check_history(await workspace.data.store.messages(session))


@pytest.mark.promise("D3")
async def test_a_dialog_of_a_cancelled_run_is_closed_everywhere(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A denied notification on every stream; an answer comes too late."""
    async with open_town(tmp_path, [WRITE]) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with workspace.attach(ClientID("b")) as one, workspace.attach(ClientID("c")) as two:
            run = submit(workspace, session)
            request = await until_asked(workspace)
            workspace.cancel(session)
            await run.finished.wait()
            for stream in (one, two):
                events: list[Event] = await stream.receive()
                ends = [e.payload for e in events if e.type == "permission_notification"]
                assert ends[-1] == PermissionNotification(
                    request.tool_call_id, granted=False, denied=True
                )
        assert not workspace.permissions.answer(request.id, "allow")


@pytest.mark.promise("R13")
async def test_a_prompt_that_comes_while_a_cancel_unwinds_runs_next(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Without anybody's help, also one that would have folded (issue: nothing is lost)."""
    async with open_town(tmp_path, [Say("begun"), Hang()], "second") as town:
        workspace = await town.open()
        session = await town.session(workspace)
        first = submit(workspace, session)
        await trio.sleep(1)
        workspace.cancel(session)
        second = submit(workspace, session)
        assert not first.settled
        await second.finished.wait()
        assert (first.outcome, second.outcome, second.text) == (
            "cancelled",
            "completed",
            "second",
        )


# --- summaries ------------------------------------------------------------------------------------


@pytest.mark.promise("W2")
async def test_a_summary_keeps_its_workspace_open(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It is a claim: no hold closes a workspace under it (wire contract 0, R-44)."""
    async with open_town(tmp_path, "one", [Pause(600), Say("summary")]) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        await submit(workspace, session).finished.wait()
        run = workspace.summarize(session)
        await trio.sleep(300)
        assert town.host.get(workspace.id) is workspace
        assert workspace.busy
        await run.finished.wait()
        assert run.outcome == "completed"


async def test_a_summary_is_refused_where_it_cannot_be_made(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A busy session, a workspace without a model, one that closes (R-44)."""
    async with open_town(tmp_path, [Say("x"), Hang()]) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        submit(workspace, session)
        with pytest.raises(SessionBusyError):
            workspace.summarize(session)
        (tmp_path / "empty").mkdir()
        bare = await town.open(directory=tmp_path / "empty")
        with pytest.raises(AgentMissingError):
            bare.summarize(session)
        workspace.stop_runs("by the test")
        with pytest.raises(WorkspaceClosingError):
            workspace.summarize(SessionID("x"))


async def test_no_hello_names_a_summary(autojump_clock: MockClock, tmp_path: Path) -> None:
    """No end of it will come on the stream (wire contract 0)."""
    async with open_town(tmp_path, "one", [Say("sum"), Hang()]) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        await submit(workspace, session).finished.wait()
        workspace.summarize(session)
        waiting = submit(workspace, session, run_id="r2")
        with workspace.attach(ClientID("b"), Wish()) as stream:
            hello = (await stream.receive())[0].payload
        assert isinstance(hello, Hello)
        assert [(run.run_id, run.state) for run in hello.runs] == [(waiting.id, "queued")]


# --- users' commands ----------------------------------------------------------------------------


def shell(**scripts: Script) -> ScriptedShell:
    return ScriptedShell(scripts)


async def test_a_command_is_noted_and_the_model_learns_of_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Standard output, a newline, standard error; one message of the user (wire contract 6.9)."""
    commands = shell(make=Script("out\n", "err\n", 3))
    async with open_town(tmp_path, "seen", shell=commands) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        await submit(workspace, session).finished.wait()
        done = await workspace.run_command(session, "make")
        assert done == ShellCommand("make", "out\n\nerr\n", 3)
        assert not workspace.busy
        await submit(workspace, session).finished.wait()
        texts = [m.text for m in scripted(town.model).requests[-1].messages]
        assert any("$ make\nout\n\nerr\n" in text for text in texts)
        stored = await workspace.data.store.messages(session)
        assert told(stored)[2] == "user stop"
        check_history(stored)


async def test_a_command_needs_no_session(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It runs, and nothing is noted (R-45)."""
    async with open_town(tmp_path, shell=shell(ls=Script("a\n"))) as town:
        workspace = await town.open()
        last = workspace.hub.last_id
        assert (await workspace.run_command(SessionID("nobody"), "ls")).output == "a\n"
        assert workspace.hub.last_id == last


@pytest.mark.promise("W5")
async def test_a_command_ends_with_its_caller_or_its_workspace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Nothing of it is left, and nothing is noted; a cancel of the session does not touch it."""
    commands = shell(wait=SLEEP_FOREVER)
    async with open_town(tmp_path, shell=commands) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with trio.move_on_after(5) as caller:
            workspace.cancel(session)
            await workspace.run_command(session, "wait")
        assert caller.cancelled_caught
        await wait_all_tasks_blocked()
        assert commands.running == []
        assert await workspace.data.store.messages(session) == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_refused, workspace, session)
            await wait_all_tasks_blocked()
            assert commands.running == ["wait"]
            assert town.host.get(workspace.id) is workspace
            town.host.retire(ClientID("a"))
        assert commands.running == []


async def _refused(workspace: Workspace, session: SessionID) -> None:
    with pytest.raises(WorkspaceClosingError):
        await workspace.run_command(session, "wait")


@pytest.mark.promise("W2")
async def test_a_command_that_runs_keeps_its_workspace_open(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Somebody waits for it."""
    async with open_town(tmp_path, shell=shell(long=Script("late\n", seconds=600))) as town:
        workspace = await town.open()
        assert (await workspace.run_command(SessionID(""), "long")).output == "late\n"
        assert town.host.get(workspace.id) is workspace


@pytest.mark.promise("C4")
async def test_a_command_that_cannot_be_run_is_the_caller_s_fault(tmp_path: Path) -> None:
    """The message says so, and nothing is noted (C4)."""
    with trio.fail_after(5):
        async with open_town(tmp_path) as town:
            workspace = await town.open()
            session = await town.session(workspace)
            with pytest.raises(BadRequestError, match="cannot be run"):
                await workspace.run_command(session, "a\0b")
            assert await workspace.data.store.messages(session) == []
