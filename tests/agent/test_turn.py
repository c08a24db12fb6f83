"""One turn: what is stored and told, step by step, however it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import (
    Study,
    asking,
    check_ends,
    check_history,
    open_study,
    scripted,
    told,
    tool,
)
from crush_trio.agent.repair import BROKEN_ARGUMENTS
from crush_trio.agent.step import CANCELLED_RESULT, FAILED_RESULT
from crush_trio.errors import ConfigError, ProviderError
from crush_trio.ids import SessionID
from crush_trio.messages import ToolCall
from crush_trio.providers.base import (
    Delta,
    ModelRequest,
    StreamEnd,
    TextDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from crush_trio.providers.scripted import (
    Answer,
    Call,
    Cut,
    Fail,
    Finish,
    Hang,
    Pause,
    Report,
    Say,
    ScriptedModel,
    Think,
    WaitFor,
)
from crush_trio.runs import Run
from crush_trio.settings import Settings
from crush_trio.wire.events import AgentEvent, Event, RunComplete
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sessions import Session

DOWN = ProviderError("refused", title="Stream transport error", retryable=True)


def story(events: list[Event]) -> list[str]:
    """Return events as short texts; streaming updates are left out."""
    lines: list[str] = []
    for event in events:
        match event.payload:
            case WireMessage(role=role, parts=parts) if not event.streaming:
                kinds = [type(part).__name__.removesuffix("Part") for part in parts]
                lines.append(f"{role} {event.change} {' '.join(kinds)}".rstrip())
            case Session(completion_tokens=tokens):
                lines.append(f"session {event.change} {tokens}")
            case AgentEvent(type=kind):
                lines.append(kind)
            case RunComplete():
                lines.append("run_complete")
            case _:
                pass
    return lines


async def end(study: Study, run: Run) -> None:
    """Wait for a run and check what holds for each of them."""
    await run.finished.wait()
    check_ends(study.events, [run])
    check_history(await study.messages())
    assert scripted(study.model).open_streams == 0


# --- a turn that ends well ---------------------------------------------------------------------------


@pytest.mark.promise("S4", "R8", "R9")
async def test_a_step_is_told_event_by_event_in_the_contracts_order(
    autojump_clock: MockClock,
) -> None:
    """A call before its result, results before the usage, usage before the finish, all of it before
    the end (wire contract 6.4)."""
    script = [[Think("Hm."), Say("Let me look."), Call("look")], "There are two."]
    async with open_study(*script, tools=[tool("look", "a b")]) as study:
        run = await study.play("list files")
        await end(study, run)
        assert story(study.events) == [
            "session created 0",
            "user created Text Finish",
            "assistant created",
            "assistant updated WireReasoning",
            "assistant updated WireReasoning Text WireToolCall",
            "assistant updated WireReasoning Text WireToolCall",
            "tool created WireToolResult Finish",
            "session updated 10",
            "assistant updated WireReasoning Text WireToolCall Finish",
            "assistant created",
            "session updated 10",
            "assistant updated Text Finish",
            "agent_finished",
            "run_complete",
        ]
        assert (run.outcome, run.text) == ("completed", "There are two.")
        assert told(await study.messages()) == [
            "user stop list files",
            "assistant tool_use Let me look.",
            "tool stop a b",
            "assistant end_turn There are two.",
        ]


@pytest.mark.promise("R14", "R8")
async def test_the_end_of_a_run_names_its_last_message_and_text(autojump_clock: MockClock) -> None:
    """Each run its own, and not what an earlier step of it said."""
    step = [Say("let me look"), Call("look", {})]
    async with open_study(step, "one", "two", tools=[tool("look")]) as study:
        runs = [await study.play(text, text) for text in ("first", "second")]
        ends = [e.payload for e in study.events if isinstance(e.payload, RunComplete)]
        stored = await study.messages()
        answers = [m for m in stored if m.role == "assistant" and not m.tool_calls]
        assert [(e.run_id, e.message_id, e.text) for e in ends] == [
            (run.id, message.id, message.text) for run, message in zip(runs, answers, strict=True)
        ]


@pytest.mark.parametrize("reason", ["max_tokens", "content_filter", "unknown"])
async def test_the_models_reason_becomes_the_messages(
    reason: Any, autojump_clock: MockClock
) -> None:
    """Whatever ended the answer, a run that has one completes."""
    async with open_study([Say("cut off"), Finish(reason)]) as study:
        run = await study.play()
        await end(study, run)
        assert run.outcome == "completed"
        assert told(await study.messages())[-1] == f"assistant {reason} cut off"


async def test_the_usage_of_each_step_is_the_sessions(autojump_clock: MockClock) -> None:
    """Counters are replaced, what is zero is kept, and a model that reports nothing is estimated."""
    script = [
        [Call("look"), Report(Usage(input=70, output=7, cache_read=30))],
        [Say("x" * 40), Report(None)],
    ]
    async with open_study(*script, tools=[tool("look")]) as study:
        await study.play("y" * 400)
        used = [
            (e.payload.prompt_tokens, e.payload.completion_tokens)
            for e in study.events
            if isinstance(e.payload, Session)
        ]
        assert used[1] == (100, 7)
        assert used[2][1] == 10
        assert used[2][0] > 100


@pytest.mark.promise("R9")
async def test_a_turn_that_goes_in_circles_is_stopped(autojump_clock: MockClock) -> None:
    """It ends normally behind its last tool results, and the next prompt is answered."""
    model = ScriptedModel(respond=_circling)
    async with open_study(model=model, tools=[tool("look")]) as study:
        run = await study.play("circle")
        await end(study, run)
        assert run.outcome == "completed"
        assert len(model.requests) == 10
        assert told(await study.messages())[-2:] == ["assistant tool_use", "tool stop done"]
        assert (await study.play("stop")).text == "stopped"


def _circling(request: ModelRequest) -> Answer:
    said = [message.text for message in request.messages if message.role == "user"]
    return "stopped" if said[-1] == "stop" else Call("look")


# --- retries -------------------------------------------------------------------------------------------


@pytest.mark.promise("R10", "R9")
async def test_a_request_that_broke_off_is_tried_again_from_the_start(
    autojump_clock: MockClock,
) -> None:
    """What was said is withdrawn on every stream, and the answer holds only what came then."""
    script = [[Think("Hm."), Say("Half an"), Call("look"), Cut()], "A whole answer."]
    async with open_study(*script, tools=[tool("look")]) as study:
        begun = trio.current_time()
        run = await study.play()
        await end(study, run)
        assert trio.current_time() - begun == pytest.approx(5, abs=0.1)
        assert told(await study.messages()) == [
            "user stop hello",
            "assistant end_turn A whole answer.",
        ]
        answers = [
            [type(part).__name__ for part in e.payload.parts]
            for e in study.events
            if isinstance(e.payload, WireMessage) and e.payload.role == "assistant"
        ]
        shrunk = answers.index([], 1)
        assert any(len(parts) == 3 for parts in answers[:shrunk])
        assert not any("WireToolCallPart" in parts for parts in answers[shrunk:])


async def test_a_retry_starts_with_a_clean_sheet(autojump_clock: MockClock) -> None:
    """Arguments that were broken in the first attempt are good in the second, under the same id."""
    script = [
        [Call("look", "no json at all", id="c1"), Report(Usage(1000, 1000)), Fail(DOWN)],
        [Call("look", {"a": 1}, id="c1"), Report(None)],
        "done",
    ]
    model = BrokenOff(*script)
    looked = tool("look")
    async with open_study(model=model, tools=[looked]) as study:
        run = await study.play()
        await end(study, run)
        assert looked.ran == ["c1"]
        assert told(await study.messages())[2] == "tool stop done"
        session = await study.store.session(study.session_id)
        assert session is not None
        assert session.prompt_tokens < 1000


class BrokenOff(ScriptedModel):
    """A model whose first answer breaks off behind everything it said."""

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        if not self.requests:
            self.requests.append(request)
            self._script.popleft()
            yield _BreaksOff()
            return
        async with super().stream(request) as deltas:
            yield deltas


class _BreaksOff:
    """Deltas of a whole call and its usage, and then an error."""

    def __init__(self) -> None:
        self._deltas: list[Delta] = [
            ToolCallStart("c1", "look"),
            ToolCallEnd("c1", "look", "no json at all"),
            Usage(1000, 1000),
        ]

    def __aiter__(self) -> _BreaksOff:
        return self

    async def __anext__(self) -> Delta:
        await trio.lowlevel.checkpoint()
        if not self._deltas:
            raise DOWN
        return self._deltas.pop(0)


@pytest.mark.promise("R7", "R10")
async def test_after_the_last_retry_what_was_said_stays(autojump_clock: MockClock) -> None:
    """5, 10 and 20 seconds; then the run fails and says that it was retried."""
    model = ScriptedModel(respond=lambda _: [Say("Half"), Fail(DOWN)])
    async with open_study(model=model) as study:
        begun = trio.current_time()
        run = await study.play()
        await end(study, run)
        assert trio.current_time() - begun == pytest.approx(35, abs=0.1)
        assert run.ending.error == "retry error: stream transport error: refused"
        assert told(await study.messages())[-1] == "assistant error Half"


@pytest.mark.promise("R7")
async def test_a_stream_that_ends_without_its_end_is_a_failure(autojump_clock: MockClock) -> None:
    """A model's connection that just stops has not finished (wire contract 6.6)."""

    class Silent(ScriptedModel):
        @asynccontextmanager
        async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
            async with super().stream(request) as deltas:
                yield _without_end(deltas)

    async def _without_end(deltas: AsyncIterator[Delta]) -> AsyncIterator[Delta]:
        async for delta in deltas:
            if not isinstance(delta, StreamEnd):
                yield delta

    async with open_study(model=Silent(*["x"] * 4)) as study:
        run = await study.play()
        await end(study, run)
        assert "the stream ended early" in run.ending.error


# --- cancel ----------------------------------------------------------------------------------------------


@pytest.mark.promise("R4", "R9", "R10")
@pytest.mark.parametrize(
    ("answer", "wait_for", "stored"),
    [
        ([Hang()], "", ["assistant canceled"]),
        ([Think("Hm."), Hang()], "Hm.", ["assistant canceled"]),
        ([Say("Half an answer"), Hang()], "Half", ["assistant canceled Half an answer"]),
        (
            [Say("Look"), Call("look", chunk=1, pause=1)],
            "look",
            ["assistant canceled Look", f"tool stop {CANCELLED_RESULT}"],
        ),
    ],
    ids=["before the first byte", "while thinking", "while speaking", "within a call"],
)
async def test_a_cancelled_answer_keeps_what_was_said(
    answer: Answer, wait_for: str, stored: list[str], autojump_clock: MockClock
) -> None:
    """Closed and well formed; a strict provider takes the next prompt (agent contract 1.18)."""
    async with open_study(answer, "next") as study:
        run = study.prompt()
        await scripted(study.model).wait_request(1)
        await study.until(lambda event: wait_for in str(event.payload))
        await wait_all_tasks_blocked()
        study.lane.cancel("test")
        await end(study, run)
        assert run.outcome == "cancelled"
        assert told(await study.messages())[1:] == stored
        assert (await study.play("go on")).text == "next"
        check_history(await study.messages())


@pytest.mark.promise("R4", "R5", "R9")
async def test_a_run_that_is_cancelled_before_it_begins_is_stored(
    autojump_clock: MockClock,
) -> None:
    """The user's message and an answer that says so (wire contract 6.5)."""
    async with open_study("next") as study:
        run = study.prompt("hello", "mine")
        study.lane.cancel("test")
        await end(study, run)
        messages = await study.messages()
        assert told(messages) == ["user stop hello", "assistant canceled"]
        assert run.message_id == messages[1].id
        assert (messages[1].model, messages[1].provider) == ("scripted-1", "scripted")
        assert scripted(study.model).requests == []
        (done,) = [e.payload for e in study.events if isinstance(e.payload, RunComplete)]
        assert (done.message_id, done.error) == (messages[1].id, "context canceled")
        assert (await study.play("go on")).text == "next"


@pytest.mark.promise("R5", "R9", "D3")
async def test_a_cancel_while_tools_run_gives_every_call_one_result(
    autojump_clock: MockClock,
) -> None:
    """What was done keeps its result; what was running or had not begun gets the cancelled one."""
    script = [[Call("look"), Call("ask"), Call("look")], "next"]
    async with open_study(*script, tools=[tool("look"), asking()]) as study:
        run = study.prompt()
        await study.until_asked()
        study.lane.cancel("test")
        await end(study, run)
        assert told(await study.messages())[1:] == [
            "assistant canceled",
            "tool stop done",
            f"tool stop {CANCELLED_RESULT}",
            f"tool stop {CANCELLED_RESULT}",
        ]
        assert study.permissions.open_events() == []
        assert (await study.play("go on")).text == "next"


@pytest.mark.promise("R5")
async def test_a_cancel_ends_the_wait_for_a_retry(autojump_clock: MockClock) -> None:
    """At once, not after the delay."""
    async with open_study([Say("Half"), Fail(DOWN)]) as study:
        run = study.prompt()
        await trio.sleep(2)
        study.lane.cancel("test")
        await end(study, run)
        assert trio.current_time() == pytest.approx(2)
        assert told(await study.messages())[-1] == "assistant canceled"


@pytest.mark.promise("R10", "C1")
async def test_text_that_no_snapshot_has_shown_yet_is_kept_by_a_cancel(
    autojump_clock: MockClock,
) -> None:
    """All that the model had said when the run was cancelled is stored."""
    answer = [Say("Shown. "), Pause(1), Say("Not shown yet."), Hang()]
    async with open_study(answer, settings=Settings(snapshot_pause=1000)) as study:
        run = study.prompt()
        await trio.sleep(1.5)
        shown = [e.payload.text for e in study.events if isinstance(e.payload, WireMessage)]
        assert shown[-1] == "Shown. "
        study.lane.cancel("test")
        await end(study, run)
        assert told(await study.messages())[-1] == "assistant canceled Shown. Not shown yet."
        assert run.text == "Shown. Not shown yet."


@pytest.mark.promise("S4", "C2")
async def test_no_tool_runs_before_its_call_is_stored_and_shown(autojump_clock: MockClock) -> None:
    """A request for permission never comes before the call that it is for; and what cannot be
    stored is not done."""
    gate = trio.Event()
    ask = asking()
    async with open_study([Say("Look"), WaitFor(gate), Call("ask")], tools=[ask]) as study:
        run = study.prompt()
        await study.until_text("Look")
        await wait_all_tasks_blocked()
        study.disk.stuck = True
        gate.set()
        await wait_all_tasks_blocked()
        assert ask.ran == []
        study.disk.let_go()
        await study.until_asked()
        kinds = [type(event.payload).__name__ for event in study.events]
        assert kinds[-3:] == ["WireMessage", "PermissionNotification", "PermissionRequest"]
        study.lane.cancel("test")
        await end(study, run)
        study.disk.full = True
        again = study.prompt("again")
        await again.finished.wait()
        assert (again.outcome, ask.ran) == ("failed", ["call_1"])


# --- folding ---------------------------------------------------------------------------------------------


@pytest.mark.promise("R12", "R14")
async def test_a_folded_prompt_is_told_to_the_model_from_the_next_step_on(
    autojump_clock: MockClock,
) -> None:
    """Behind the tool results, for all the rest of the turn (agent contract 1.7)."""
    gate = trio.Event()
    script = [[Call("look"), WaitFor(gate)], Call("look"), "both done"]
    async with open_study(*script, tools=[tool("look")]) as study:
        run = study.prompt("one")
        await scripted(study.model).wait_request(1)
        folded, own = study.prompt("two"), study.prompt("three", "own")
        gate.set()
        await folded.finished.wait()
        assert folded.ending.folded_into == run.id
        assert (folded.ending.text, folded.ending.outcome) == ("both done", "completed")
        roles = [[m.role for m in r.messages] for r in scripted(study.model).requests]
        assert roles[1] == ["user", "assistant", "tool", "user"]
        assert roles[2] == ["user", "assistant", "tool", "user", "assistant", "tool"]
        await end(study, own)
        users = [m.text for m in await study.messages() if m.role == "user"]
        assert users == ["one", "two", "three"]


@pytest.mark.promise("R12")
async def test_a_prompt_that_comes_in_the_last_step_gets_its_own_turn(
    autojump_clock: MockClock,
) -> None:
    """There is no next step to fold into; it is not forgotten (R13)."""
    gate = trio.Event()
    async with open_study([WaitFor(gate), Say("one done")], "two done") as study:
        first = study.prompt("one")
        await scripted(study.model).wait_request(1)
        second = study.prompt("two")
        gate.set()
        await second.finished.wait()
        assert (first.text, second.text) == ("one done", "two done")
        assert second.folded_into is None


# --- failures ------------------------------------------------------------------------------------------


@pytest.mark.promise("R7", "R9", "R13")
@pytest.mark.parametrize(
    ("error", "title", "details", "text"),
    [
        (
            ProviderError("bad key", title="Unauthorized", http_status=401),
            "Unauthorized",
            "bad key",
            "unauthorized: bad key",
        ),
        (ProviderError("odd"), "Provider Error", "odd", "odd"),
    ],
)
async def test_a_failing_model_ends_the_message_with_what_it_said(
    error: ProviderError, title: str, details: str, text: str, autojump_clock: MockClock
) -> None:
    """Title and details in the message, one text in the events and the answer (wire contract 6.6)."""
    async with open_study([Say("Half"), Call("look"), Fail(error)], "next") as study:
        run = await study.play()
        await end(study, run)
        assert (run.outcome, run.ending.error) == ("failed", text)
        messages = await study.messages()
        assert told(messages)[1:] == ["assistant error Half", f"tool stop {FAILED_RESULT}"]
        finish = messages[1].finish
        assert finish is not None
        assert (finish.message, finish.details) == (title, details)
        assert messages[1].tool_calls == (ToolCall("call_1", "look", "{}", finished=True),)
        events = [e.payload for e in study.events if isinstance(e.payload, AgentEvent)]
        assert [(e.type, e.error, e.run_id) for e in events] == [("error", text, run.id)]
        assert (await study.play("go on")).text == "next"


@pytest.mark.promise("R7", "R9")
async def test_a_model_that_cannot_be_used_fails_the_run_with_the_prompt_kept(
    autojump_clock: MockClock,
) -> None:
    """Before the first request; the answer says why."""
    async with open_study("next") as study:
        study.equip_error = ConfigError("provider 'x' is not configured")
        run = await study.play()
        await end(study, run)
        assert (run.outcome, run.ending.status) == ("failed", 400)
        assert told(await study.messages()) == ["user stop hello", "assistant error"]
        study.equip_error = None
        assert (await study.play("go on")).text == "next"


@pytest.mark.promise("R7", "C4")
async def test_a_prompt_for_a_session_that_is_not_there_stores_nothing(
    autojump_clock: MockClock,
) -> None:
    """It fails with the contract's text and 400; a cancel of one is a cancel all the same."""
    async with open_study() as study:
        nowhere = SessionID("nowhere")
        run = study.prompt(session_id=nowhere)
        await run.finished.wait()
        assert (run.outcome, run.ending.status, run.message_id) == ("failed", 400, "")
        run = study.prompt(session_id=nowhere)
        study.lane_of(nowhere).cancel("test")
        await run.finished.wait()
        assert (run.outcome, run.message_id) == ("cancelled", "")
        assert await study.messages(nowhere) == []


@pytest.mark.promise("C3", "R7", "R9")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("broken"),
        ExceptionGroup("g", [ExceptionGroup("h", [OSError("broken")])]),
        KeyError("broken"),
    ],
    ids=["plain", "group", "key"],
)
@pytest.mark.parametrize("where", ["entering", "reading", "leaving"])
async def test_a_provider_that_raises_anything_fails_only_its_run(
    where: str, error: Exception, autojump_clock: MockClock
) -> None:
    """Wherever it does; the next prompt works."""

    @attrs.define(eq=False)
    class Broken:
        good: ScriptedModel
        broken: bool = True

        @asynccontextmanager
        async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
            if self.broken and where == "entering":
                raise error
            async with self.good.stream(request) as deltas:
                yield _broken_deltas(error) if self.broken and where == "reading" else deltas
            if self.broken and where == "leaving":
                raise error

    async def _broken_deltas(error: Exception) -> AsyncIterator[Delta]:
        yield TextDelta("Half")
        raise error

    model = Broken(ScriptedModel("whole", "next"))
    async with open_study(model=model) as study:
        run = await study.play()
        check_ends(study.events, [run])
        check_history(await study.messages())
        assert run.outcome == "failed"
        assert "broken" in run.ending.error
        model.broken = False
        run = await study.play("go on")
        assert run.outcome == "completed"


async def test_a_call_that_was_cut_off_is_not_carried_out(autojump_clock: MockClock) -> None:
    """Its arguments could be repaired, and would then do half of what the model meant."""

    @attrs.define(eq=False)
    class Short:
        good: ScriptedModel
        asked: int = 0

        @asynccontextmanager
        async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
            self.asked += 1
            if self.asked == 1:
                async with aclosing(_cut_off()) as deltas:
                    yield deltas
            else:
                async with self.good.stream(request) as deltas:
                    yield deltas

    async def _cut_off() -> AsyncGenerator[Delta]:
        yield ToolCallStart("c", "look")
        yield ToolCallEnd("c", "look", '{"path": "/etc/pass')
        yield StreamEnd("max_tokens")

    model = Short(ScriptedModel("well"))
    async with open_study(model=model, tools=[tool("look", "seen")]) as study:
        assert (await study.play()).outcome == "completed"
        check_history(await study.messages())
        results = [r for m in await study.messages() for r in m.tool_results]
        assert [(r.content, r.is_error) for r in results] == [(BROKEN_ARGUMENTS, True)]


# --- history -----------------------------------------------------------------------------------------------


@pytest.mark.promise("R9", "R14")
async def test_the_next_prompt_tells_the_model_the_whole_conversation(
    autojump_clock: MockClock,
) -> None:
    """From memory as from the database: the same bytes of the same messages."""
    script = [[Say("Look"), Call("look")], "one", "two", "three"]
    async with open_study(*script, tools=[tool("look")]) as study:
        for text in ("a", "b"):
            await study.play(text)
        kept = scripted(study.model).requests[-1].messages
        study.histories.drop(study.session_id)
        await study.play("c")
        read = scripted(study.model).requests[-1].messages
        assert [(m.role, m.text) for m in read] == [
            ("user", "a"),
            ("assistant", "Look"),
            ("tool", "done"),
            ("assistant", "one"),
            ("user", "b"),
            ("assistant", "two"),
            ("user", "c"),
        ]
        assert [(m.role, m.text, m.tool_calls) for m in read[: len(kept)]] == [
            (m.role, m.text, m.tool_calls) for m in kept
        ]


async def test_only_the_first_prompt_of_a_session_asks_for_a_title(
    autojump_clock: MockClock,
) -> None:
    """The first one with a text (agent contract 1.4)."""
    async with open_study() as study:
        for text in ("one", "two"):
            await study.play(text)
        assert study.titles == [study.session_id]
