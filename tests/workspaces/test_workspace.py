"""A workspace: what it accepts, what it shares with a neighbour, and how it ends."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import (
    StubbornModel,
    Town,
    accepted,
    check_ends,
    check_history,
    drain,
    live_tasks,
    open_town,
    scripted,
    told,
    write_config,
)
from crush_trio.errors import (
    AgentMissingError,
    BadRequestError,
    ConfigError,
    ProviderError,
    RunIDConflictError,
    UnknownSessionError,
    WorkspaceClosingError,
)
from crush_trio.hub import Subscription
from crush_trio.ids import ClientID, RunID, SessionID
from crush_trio.messages import Binary, Prompt
from crush_trio.providers.base import Delta, ModelRequest
from crush_trio.providers.scripted import Call, Fail, Hang, Pause, Say, ScriptedModel, WaitFor
from crush_trio.runs import Ending
from crush_trio.settings import Settings
from crush_trio.wire.events import Event, PermissionNotification, RunComplete
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.sessions import Session
from crush_trio.workspaces import Workspace

LIMIT = 3600
A, B = ClientID("a"), ClientID("b")


async def read_until(stream: Subscription, matches: Callable[[Event], object]) -> list[Event]:
    """Read a stream up to the first event that matches, and return what came with it."""
    events: list[Event] = []
    while not any(map(matches, events)):
        events.extend(await stream.receive())
    last = next(number for number, event in enumerate(events) if matches(event))
    return events[: last + 1]


def is_asking(event: Event) -> bool:
    return isinstance(event.payload, PermissionRequest)


def is_end(event: Event) -> bool:
    return isinstance(event.payload, RunComplete)


@attrs.define(eq=False)
class Street:
    """Two workspaces with one data directory, and a session that both can see."""

    town: Town
    mine: Workspace
    theirs: Workspace
    session: SessionID


@asynccontextmanager
async def open_street(tmp_path: Path, *answers: Any, model: Any = None) -> AsyncGenerator[Street]:
    """Open two neighbours, each with a client of its own."""
    async with open_town(tmp_path, *answers, model=model) as town:
        data, other = str(tmp_path / "data"), tmp_path / "other"
        write_config(other)
        mine = await town.open("a", data_dir=data)
        theirs = await town.open("b", other, data_dir=data)
        yield Street(town, mine, theirs, await town.session(mine))


# --- what is accepted -------------------------------------------------------------------------------


@pytest.mark.promise("C4")
async def test_a_prompt_that_makes_no_sense_is_refused_and_changes_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Empty, without a session; a text file alone is a prompt."""
    async with open_town(tmp_path) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        picture = Binary("a.png", "image/png", b"x")
        for prompt in (Prompt(""), Prompt("", (picture,))):
            with pytest.raises(BadRequestError, match="prompt is empty"):
                workspace.submit(session, prompt)
        with pytest.raises(BadRequestError, match="session id is missing"):
            workspace.submit(SessionID(""), Prompt("hello"))
        assert not workspace.busy
        note = Prompt("", (Binary("a.txt", "text/plain", b"hi"),))
        run = accepted(workspace.submit(session, note))
        await run.finished.wait()
        assert run.outcome == "completed"


@pytest.mark.promise("C4")
async def test_a_workspace_without_a_model_takes_no_prompts(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It has no agent, and says so (wire contract E-AGENT)."""
    async with open_town(tmp_path) as town:
        (town.directory / "crush.json").write_text("{}")
        workspace = await town.open()
        session = await town.session(workspace)
        with pytest.raises(AgentMissingError):
            workspace.submit(session, Prompt("hello"))
        assert not workspace.agent_info().is_ready
        with pytest.raises(AgentMissingError):
            workspace.submit(session, Prompt("hello", local_model=True))


@pytest.mark.promise("R16", "R14")
async def test_a_prompt_posted_again_joins_its_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """From the neighbouring workspace as well; another prompt with that id is refused."""
    gate = trio.Event()
    async with open_street(tmp_path, [WaitFor(gate), Say("answer")]) as street:
        prompt, run_id = Prompt("hello"), RunID("mine")
        run = street.mine.submit(street.session, prompt, run_id)
        assert street.mine.submit(street.session, prompt, run_id) is run
        assert street.theirs.submit(street.session, prompt, run_id) is run
        with pytest.raises(RunIDConflictError):
            street.theirs.submit(street.session, Prompt("other"), run_id)
        gate.set()
        await accepted(run).finished.wait()
        again = street.theirs.submit(street.session, prompt, run_id)
        assert isinstance(again, Ending)
        assert (again.outcome, again.text) == ("completed", "answer")
        assert len(scripted(street.town.model).requests) == 1


@pytest.mark.promise("R6", "R12", "R15")
async def test_cancel_clear_and_queue_concern_one_session(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Another session of the workspace runs on; an idle one has nothing to cancel."""
    gate = trio.Event()
    model = ScriptedModel(respond=lambda _: [Say("x"), WaitFor(gate)])
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        one, two, idle = [await town.session(workspace) for _ in range(3)]
        first, second = [accepted(workspace.submit(s, Prompt("hello"))) for s in (one, two)]
        waiting = accepted(workspace.submit(one, Prompt("next"), RunID("next")))
        assert workspace.sessions.waiting_prompts(one) == ["next"]
        assert (
            workspace.sessions.waiting_prompts(two)
            == workspace.sessions.waiting_prompts(idle)
            == []
        )
        assert workspace.clear(one).runs == (waiting,)
        assert workspace.cancel(idle).runs == workspace.clear(idle).runs == ()
        receipt = workspace.cancel(one)
        await receipt.wait_settled()
        assert receipt.runs == (first,)
        assert not workspace.data.busy(one)
        assert workspace.data.busy(two)
        gate.set()
        await second.finished.wait()
        assert (second.outcome, waiting.outcome) == ("completed", "cancelled")
        assert not workspace.busy
        assert workspace.data._lanes == {}


@pytest.mark.promise("R3", "R4", "R6")
async def test_the_deletion_of_a_session_also_ends_a_prompt_that_comes_meanwhile(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whatever was accepted before the rows go settles as cancelled first; nothing runs in a
    session that is not there."""
    model = StubbornModel([Say("x"), Hang()], [Say("y"), Hang()])
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with workspace.hub.subscribe() as stream:
            first = accepted(workspace.submit(session, Prompt("one")))
            await model.wait_request(1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(workspace.sessions.delete, session)
                await model.leaving.wait()
                later = accepted(workspace.submit(session, Prompt("two"), RunID("two")))
                model.let_go.set()
            events = await read_until(stream, lambda event: event.change == "deleted")
        assert (first.outcome, later.outcome) == ("cancelled", "cancelled")
        assert isinstance(events[-1].payload, Session)
        assert sum(map(is_end, events)) == 2
        with pytest.raises(UnknownSessionError):
            await workspace.sessions.get(session)
        with pytest.raises(UnknownSessionError):
            await workspace.sessions.delete(session)


@pytest.mark.promise("R3", "R5")
async def test_the_deletion_waits_for_a_run_that_has_concluded(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It is in no receipt, and its last write comes before the rows go."""
    gate = trio.Event()
    async with open_town(tmp_path, [WaitFor(gate), Say("answer")]) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        run = accepted(workspace.submit(session, Prompt("one")))
        await scripted(town.model).wait_request(1)
        await wait_all_tasks_blocked()
        with workspace.hub.subscribe() as stream:
            town.disk.stuck = True
            gate.set()
            await wait_all_tasks_blocked()
            assert run.concluded
            async with trio.open_nursery() as nursery:
                nursery.start_soon(workspace.sessions.delete, session)
                await wait_all_tasks_blocked()
                assert not run.settled
                assert workspace.cancel(session).runs == ()
                town.disk.let_go()
            assert run.outcome == "completed"
            workspace.hub.close()
            last = (await drain(stream))[-1]
        assert (last.type, last.change) == ("session", "deleted")


class ExitingModel(ScriptedModel):
    """A model whose titles call ``sys.exit``."""

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Open a stream that is not for a title."""
        if not request.tools:
            self.title_requests.append(request)
            raise SystemExit(3)
        async with super().stream(request) as deltas:
            yield deltas


@pytest.mark.promise("C3")
async def test_a_title_that_calls_for_an_exit_ends_nothing_else(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the prompt beside it is answered."""
    model = ExitingModel([Pause(1), Say("answer")])
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        run = accepted(workspace.submit(await town.session(workspace), Prompt("one")))
        await run.finished.wait()
        assert (run.outcome, run.text) == ("completed", "answer")
        assert len(model.title_requests) == 1
        assert not workspace.closing
    assert f"side work of workspace {workspace.id} failed" in caplog.text


@pytest.mark.promise("C3", "R7")
async def test_a_provider_whose_opening_calls_for_an_exit_fails_the_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And not the server; it is opened again for the next prompt."""
    async with open_town(tmp_path, "answer") as town:
        workspace = await town.open()
        session = await town.session(workspace)
        town.provider_error = SystemExit(3)
        run = accepted(workspace.submit(session, Prompt("one")))
        await run.finished.wait()
        assert (run.outcome, run.ending.error) == ("failed", "exit(3) was called")
        town.provider_error = None
        again = accepted(workspace.submit(session, Prompt("two")))
        await again.finished.wait()
        assert again.text == "answer"


# --- neighbours -------------------------------------------------------------------------------------


@pytest.mark.promise("R8", "S1")
async def test_events_of_a_session_reach_every_workspace_that_shares_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And it is busy in each of them."""
    gate = trio.Event()
    async with open_street(tmp_path, [WaitFor(gate), Say("answer")]) as street:
        with street.mine.hub.subscribe() as one, street.theirs.hub.subscribe() as two:
            run = accepted(street.mine.submit(street.session, Prompt("hello")))
            assert street.theirs.busy
            assert street.theirs.agent_info().is_busy
            gate.set()
            heard = [await read_until(stream, is_end) for stream in (one, two)]
        one_story, other_story = [
            [event.frame for event in events if not event.streaming] for events in heard
        ]
        assert one_story == other_story
        check_ends(heard[0], [run])


@pytest.mark.promise("R3", "R12", "W4")
@pytest.mark.parametrize("mine_first", [True, False])
async def test_a_neighbour_that_closes_ends_only_its_own_runs(
    mine_first: bool, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """In a lane that both use: the other one's run goes on, or comes next, and the store is open."""
    gate = trio.Event()
    model = ScriptedModel(respond=lambda _: [Say("x"), WaitFor(gate)])
    async with open_street(tmp_path, model=model) as street:
        order = [street.mine, street.theirs]
        first, second = order if mine_first else reversed(order)
        runs = {
            place: accepted(place.submit(street.session, Prompt("hello"), RunID(place.id)))
            for place in (first, second)
        }
        with street.theirs.hub.subscribe() as stream:
            await model.wait_request(1)
            await wait_all_tasks_blocked()
            street.town.host.release(street.mine.id, A)
            await runs[street.mine].finished.wait()
            await model.wait_request(2 if mine_first else 1)
            gate.set()
            await runs[street.theirs].finished.wait()
            street.theirs.hub.close()
            check_ends(await drain(stream), runs.values())
        assert runs[street.mine].outcome == "cancelled"
        assert runs[street.theirs].outcome == "completed"
        await wait_all_tasks_blocked()
        assert street.town.open_now == 1
        messages = await street.theirs.data.store.messages(street.session)
        check_history(messages)
        assert told(messages) == (
            ["user stop hello", "assistant canceled x"] * mine_first
            + ["user stop hello", "assistant end_turn x"]
        )


@pytest.mark.promise("R3", "R12")
async def test_a_prompt_does_not_fold_into_a_neighbours_turn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It runs in its own workspace, after it, and does not end with the other one."""
    gate = trio.Event()
    model = ScriptedModel([Call("ls"), WaitFor(gate)], [Say("x"), Hang()], "mine")
    async with open_street(tmp_path, model=model) as street:
        run = accepted(street.mine.submit(street.session, Prompt("one")))
        await model.wait_request(1)
        joining = accepted(street.mine.submit(street.session, Prompt("two")))
        theirs = accepted(street.theirs.submit(street.session, Prompt("three")))
        gate.set()
        await model.wait_request(2)
        assert joining.folded_into is run
        street.town.host.retire(A)
        await theirs.finished.wait()
        assert (run.outcome, joining.outcome) == ("cancelled", "cancelled")
        assert (theirs.outcome, theirs.text) == ("completed", "mine")
        assert [m.text for m in model.requests[2].messages if m.role == "user"] == [
            "one",
            "two",
            "three",
        ]


# --- decisions -----------------------------------------------------------------------------------------


OUTSIDE = Call("ls", {"path": "/"})


@pytest.mark.promise("D1", "D2")
async def test_a_stream_that_comes_while_a_request_is_open_is_told_of_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """First of all, and can answer it; of two who answer, one decides. What lost leaves no trace: the
    next call asks again."""
    async with open_town(tmp_path, OUTSIDE, OUTSIDE) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with workspace.attach(A) as early:
            run = accepted(workspace.submit(session, Prompt("hello")))
            await read_until(early, is_asking)
            with workspace.attach(B) as late:
                asked, request = await late.receive()
                assert asked.payload == PermissionNotification("call_1", False, False)
                assert isinstance(request.payload, PermissionRequest)
                answers = [
                    workspace.permissions.answer(request.payload.id, action)
                    for action in ("deny", "allow_session")
                ]
                assert answers == [True, False]
                await run.finished.wait()
        assert run.outcome == "completed"
        messages = await workspace.data.store.messages(session)
        assert told(messages) == [
            "user stop hello",
            "assistant end_turn",
            "tool stop User denied permission",
        ]
        with workspace.attach(A) as stream:
            accepted(workspace.submit(session, Prompt("again")))
            await read_until(stream, is_asking)


@pytest.mark.promise("D3", "R5")
async def test_a_cancelled_run_withdraws_what_it_asked(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """On every stream, before its end; a late answer decides nothing."""
    async with open_town(tmp_path, OUTSIDE) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with workspace.attach(A) as stream:
            workspace.submit(session, Prompt("hello"))
            request = (await read_until(stream, is_asking))[-1].payload
            assert isinstance(request, PermissionRequest)
            receipt = workspace.cancel(session)
            await receipt.wait_settled()
            events = await read_until(stream, is_end)
            denied = PermissionNotification("call_1", granted=False, denied=True)
            kinds = [e.payload for e in events if e.payload == denied or is_end(e)]
            assert kinds[0] == denied
            assert len(kinds) == 2
            assert not workspace.permissions.answer(request.id, "allow")
        assert workspace.permissions.open_events() == []
        check_history(await workspace.data.store.messages(session))


# --- titles: work that is not a run's --------------------------------------------------------------------


class TitleModel(ScriptedModel):
    """A model whose titles do as a test says."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.title_gate = trio.Event()
        self.title_error: Exception | None = None
        self.title_asked = trio.Event()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        if not request.tools:
            self.title_asked.set()
            await self.title_gate.wait()
            if self.title_error is not None:
                raise self.title_error
        async with super().stream(request) as deltas:
            yield deltas


@pytest.mark.promise("R11", "W2")
async def test_a_title_outlives_its_run_and_keeps_the_workspace_for_a_while(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It does not delay the end of the run, and is no part of a cancel."""
    model = TitleModel([Say("x"), Hang()])
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        await trio.sleep(20)
        workspace.submit(session, Prompt("hello"))
        await model.wait_request(1)
        await workspace.cancel(session).wait_settled()
        await trio.sleep(29)
        model.title_gate.set()
        await wait_all_tasks_blocked()
        assert (await workspace.sessions.get(session)).title == "Scripted title"
        await trio.sleep(9)
        assert town.host.get(workspace.id) is workspace
        await trio.sleep(2)
        assert town.host.workspaces == []


@pytest.mark.promise("W2", "W5")
async def test_a_title_that_takes_for_ever_keeps_nothing_open(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """After 30 seconds it is no claim any more; the workspace closes over it, and nothing is left."""
    before = live_tasks()
    model = TitleModel("answer")
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        begun = trio.current_time()
        await accepted(workspace.submit(session, Prompt("hello"))).finished.wait()
        await town.host.wait_idle(0)
        assert trio.current_time() - begun == pytest.approx(40)
        await wait_all_tasks_blocked()
        assert town.open_now == 0
    assert live_tasks() == before


async def test_a_slow_title_is_still_set_while_somebody_is_there(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Only the claim is bounded, not the work."""
    model = TitleModel("answer")
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with workspace.attach(A):
            workspace.submit(session, Prompt("hello"))
            await trio.sleep(120)
            model.title_gate.set()
            await wait_all_tasks_blocked()
            assert (await workspace.sessions.get(session)).title == "Scripted title"


@pytest.mark.promise("C3")
@pytest.mark.parametrize(
    "error",
    [
        ProviderError("down"),
        RuntimeError("broken"),
        ExceptionGroup("g", [ExceptionGroup("h", [ValueError("x")])]),
    ],
    ids=["provider", "bug", "group"],
)
async def test_a_title_that_fails_concerns_nobody(
    error: Exception, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run completes and the next one runs; what nobody foresaw is logged."""
    caplog.set_level(logging.CRITICAL)
    model = TitleModel("one", "two")
    model.title_error = error
    model.title_gate.set()
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        for text in ("one", "two"):
            run = accepted(workspace.submit(session, Prompt("hello")))
            await run.finished.wait()
            assert (run.outcome, run.text) == ("completed", text)
        await wait_all_tasks_blocked()
        title = (await workspace.sessions.get(session)).title
        expected = "Untitled Session" if isinstance(error, ProviderError) else "New Session"
        assert title == expected


# --- a broken provider -----------------------------------------------------------------------------------


@pytest.mark.promise("C3", "R7", "R13")
async def test_a_provider_that_cannot_be_opened_fails_the_run_and_is_tried_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The user's message is kept with an answer that says what failed."""
    async with open_town(tmp_path, "answer") as town:
        workspace = await town.open()
        session = await town.session(workspace)
        town.provider_error = ConfigError("no such place")
        run = accepted(workspace.submit(session, Prompt("one")))
        await run.finished.wait()
        assert (run.outcome, run.ending.error, run.ending.status) == (
            "failed",
            "no such place",
            400,
        )
        town.provider_error = None
        run = accepted(workspace.submit(session, Prompt("two")))
        await run.finished.wait()
        assert run.outcome == "completed"
        messages = await workspace.data.store.messages(session)
        check_history(messages)
        assert told(messages)[:2] == ["user stop one", "assistant error"]


# --- the agent's configuration --------------------------------------------------------------------------


@pytest.mark.promise("C4")
async def test_a_configuration_that_cannot_be_read_leaves_the_old_one(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A reload that fails says why; prompts go on with what there was."""
    async with open_town(tmp_path) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        (town.directory / "crush.json").write_text("{")
        with pytest.raises(ConfigError):
            await workspace.agent_setup.update()
        run = accepted(workspace.submit(session, Prompt("hello")))
        await run.finished.wait()
        assert run.outcome == "completed"


async def test_a_reload_counts_from_the_next_run_on(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A run in flight keeps its tools; the one behind it has the new ones (R-37)."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Call("ls")], "one", "two")
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        first = accepted(workspace.submit(session, Prompt("hello")))
        second = accepted(workspace.submit(session, Prompt("hello"), RunID("second")))
        await model.wait_request(1)
        write_config(town.directory, options={"disabled_tools": ["ls"]})
        await workspace.agent_setup.update()
        gate.set()
        await second.finished.wait()
        assert (first.text, second.text) == ("one", "two")
        tools = [{tool.name for tool in request.tools} for request in model.requests]
        assert ["ls" in names for names in tools] == [True, True, False]


async def test_who_can_be_asked_is_said_by_the_prompt_or_by_the_last_client_that_started(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """R-37: the prompt's own word counts; else one with a run id is silent after a silent init."""
    async with open_town(tmp_path) as town:
        workspace = await town.open()
        assert workspace.agent_setup.is_interactive(None, has_run_id=True)
        await workspace.agent_setup.init(interactive=False)
        await workspace.agent_setup.init(interactive=True)
        assert not workspace.agent_setup.is_interactive(None, has_run_id=True)
        assert workspace.agent_setup.is_interactive(None, has_run_id=False)
        assert workspace.agent_setup.is_interactive(True, has_run_id=True)
        assert not workspace.agent_setup.is_interactive(False, has_run_id=False)


# --- closing ------------------------------------------------------------------------------------------------


@pytest.mark.promise("W4", "R4", "R10", "W5")
async def test_closing_cancels_and_stores_then_ends_the_streams(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What was said is kept; a prompt that comes now is refused; nothing is left."""
    before = live_tasks()
    async with open_town(tmp_path, [Say("Half an answer"), Hang()]) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        with workspace.attach(A) as stream:
            run = accepted(workspace.submit(session, Prompt("hello")))
            waiting = accepted(workspace.submit(session, Prompt("more"), RunID("more")))
            await read_until(stream, lambda event: "Half" in str(event.payload))
            town.host.retire(A)
            with pytest.raises(WorkspaceClosingError):
                workspace.submit(session, Prompt("late"))
            events = await drain(stream)
        check_ends(events, [run, waiting])
        assert {run.outcome, waiting.outcome} == {"cancelled"}
        again = await town.open("b")
        messages = await again.data.store.messages(session)
        check_history(messages)
        assert told(messages) == ["user stop hello", "assistant canceled Half an answer"]
    assert live_tasks() == before


@pytest.mark.promise("W4", "W5", "C3")
async def test_a_run_that_does_not_let_go_is_given_up_in_the_end(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The close waits for it, says so in the log, and goes on when it can."""
    with trio.fail_after(2 * LIMIT):
        model = StubbornModel([Say("x"), Hang()])
        async with open_town(tmp_path, model=model) as town:
            workspace = await town.open()
            session = await town.session(workspace)
            run = accepted(workspace.submit(session, Prompt("hello")))
            await model.wait_request(1)
            town.host.release(workspace.id, A)
            await trio.sleep(60)
            assert "did not settle" in caplog.text
            assert not run.settled
            model.let_go.set()
            await run.finished.wait()
            assert run.outcome == "cancelled"
            await wait_all_tasks_blocked()
            assert town.open_now == 0


async def test_a_flush_of_an_idle_session_does_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It is a checkpoint, and makes no lane."""
    async with open_town(tmp_path) as town:
        workspace = await town.open()
        await workspace.sessions.flush(SessionID("nowhere"))
        assert workspace.data._lanes == {}


@pytest.mark.promise("S1", "R10")
async def test_a_flush_stores_what_a_running_turn_has_said(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whoever reads the messages then finds all of it (R-20)."""
    slow = Settings(snapshot_pause=1000, journal_pause=900)
    answer = [Say("Once "), Pause(1), Say("and again."), Hang()]
    async with open_town(tmp_path, answer, settings=slow) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        workspace.submit(session, Prompt("hello"))
        await trio.sleep(2)
        assert (await workspace.data.store.messages(session))[-1].text == "Once "
        await workspace.sessions.flush(session)
        assert (await workspace.data.store.messages(session))[-1].text == "Once and again."


@pytest.mark.promise("R13", "C3")
async def test_a_failing_session_holds_up_no_other(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its provider is down and is retried for half a minute; the neighbour answers at once."""
    down = ProviderError("refused", retryable=True)

    def respond(request: ModelRequest) -> Any:
        return Fail(down) if request.messages[-1].text == "down" else "fine"

    async with open_town(tmp_path, model=ScriptedModel(respond=respond)) as town:
        workspace = await town.open()
        bad, good = await town.session(workspace), await town.session(workspace)
        begun = trio.current_time()
        failing = accepted(workspace.submit(bad, Prompt("down")))
        fine = accepted(workspace.submit(good, Prompt("hello")))
        await fine.finished.wait()
        assert trio.current_time() - begun < 1
        await failing.finished.wait()
        assert failing.outcome == "failed"
        assert math.isclose(trio.current_time() - begun, 35, abs_tol=0.1)
