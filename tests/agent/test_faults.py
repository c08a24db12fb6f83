"""A disk that cannot be written to, and tools that break: what a run makes of it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import (
    FunctionTool,
    break_writes,
    check_ends,
    check_history,
    mend_writes,
    open_study,
    scripted,
    told,
    tool,
)
from crush_trio.agent.step import CANCELLED_RESULT, FAILED_RESULT
from crush_trio.errors import StoreError
from crush_trio.messages import Message
from crush_trio.providers.base import (
    Delta,
    ModelRequest,
    StreamEnd,
    TextDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from crush_trio.providers.scripted import Call, Hang, Report, Say, WaitFor
from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.wire.events import RunComplete
from crush_trio.wire.messages import WireMessage, wire_message


def check_nothing_is_shown_that_is_not_stored(
    events: list[object], messages: list[Message]
) -> None:
    """Check that what streams have shown of each message last is what is there (C2)."""
    stored = {message.id: wire_message(message).parts for message in messages}
    for payload in events:
        if isinstance(payload, WireMessage):
            assert payload.id in stored


@pytest.mark.promise("C2", "R7", "R13")
@pytest.mark.parametrize("when", ["at the prompt", "while it speaks", "at the end"])
async def test_a_full_disk_fails_the_run_with_that_reason(
    when: str, autojump_clock: MockClock
) -> None:
    """Whenever it fills up; what was not stored is not shown, and when there is room again the next
    prompt is answered."""
    gate = trio.Event()
    async with open_study([Say("Half"), WaitFor(gate), Say(" done")], "next") as study:
        if when == "at the prompt":
            study.disk.full = True
        if when == "at the end":
            await break_writes(study.store, "UPDATE", text='"finish"')
        run = study.prompt()
        if when == "while it speaks":
            await study.until_text("Half")
            await wait_all_tasks_blocked()
            study.disk.full = True
        gate.set()
        await run.finished.wait()
        assert run.outcome == "failed"
        assert "disk I/O" in run.ending.error or "disk is full" in run.ending.error
        check_ends(study.events, [run])
        shown = [event.payload for event in study.events]
        check_nothing_is_shown_that_is_not_stored(list(shown), await study.messages())
        study.disk.full = False
        if when == "at the end":
            await mend_writes(study.store)
        again = await study.play("go on")
        assert again.outcome == "completed"
        request = scripted(study.model).requests[-1]
        assert request.messages[-1].text == "go on"
        stored = [m.text for m in await study.messages() if m.role == "user"]
        asked = [m.text for m in request.messages if m.role == "user"]
        assert asked == stored, "the model is told what is stored, and nothing else"


@pytest.mark.promise("C2", "R4")
@pytest.mark.parametrize("when", ["before the cancel", "after the cancel"])
async def test_a_cancelled_run_on_a_full_disk_stays_cancelled(
    when: str, autojump_clock: MockClock
) -> None:
    """With the error beside it, wherever the write failed."""
    async with open_study([Say("Half"), Hang()], "next") as study:
        run = study.prompt()
        await study.until_text("Half")
        await wait_all_tasks_blocked()
        if when == "before the cancel":
            study.disk.full = True
            study.lane.cancel("test")
        else:
            study.lane.cancel("test")
            study.disk.full = True
        await run.finished.wait()
        assert run.outcome == "cancelled"
        assert "disk is full" in run.ending.error
        (done,) = [e.payload for e in study.events if isinstance(e.payload, RunComplete)]
        assert (done.cancelled, done.error) == (True, run.ending.error)
        study.disk.full = False
        assert (await study.play("go on")).text == "next"


@pytest.mark.promise("C2", "R4", "R9")
async def test_a_prompt_that_could_not_be_stored_is_never_told_to_the_model(
    autojump_clock: MockClock,
) -> None:
    """Wherever a cancel strikes: before the write, while it is under way, or when it has failed."""
    outcomes: set[str | None] = set()
    async with open_study() as study:
        for steps in range(12):
            await break_writes(study.store, role="user")
            run = study.prompt("lost")
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            receipt = study.lane.cancel("test")
            await run.finished.wait()
            await mend_writes(study.store)
            outcomes.add(run.outcome)
            assert run.outcome == ("cancelled" if run in receipt.runs else "failed")
            assert "disk I/O error" in run.ending.error or steps < 2
            await study.play("go on")
            request = scripted(study.model).requests[-1]
            assert {m.text for m in request.messages if m.role == "user"} == {"go on"}
    assert outcomes == {"cancelled", "failed"}


@pytest.mark.promise("C2", "R9")
async def test_a_result_that_was_refused_once_is_answered_at_the_end(
    autojump_clock: MockClock,
) -> None:
    """A write that fails by itself, on a disk that works before and behind it."""

    async def huge(_: ToolContext) -> ToolAnswer:
        await trio.lowlevel.checkpoint()
        return ToolAnswer("lost")

    script = [[Call("look"), Call("huge")], "next"]
    async with open_study(*script, tools=[tool("look"), FunctionTool("huge", huge)]) as study:
        await break_writes(study.store, text="lost")
        run = await study.play()
        assert run.outcome == "failed"
        assert "disk I/O error" in run.ending.error
        messages = await study.messages()
        check_history(messages)
        assert told(messages)[1:] == [
            "assistant error",
            "tool stop done",
            f"tool stop {FAILED_RESULT}",
        ]
        assert (await study.play("go on")).text == "next"
        check_history(await study.messages())


@pytest.mark.promise("C2", "R1")
async def test_a_commit_that_never_comes_does_not_hold_the_run_for_ever(
    autojump_clock: MockClock,
) -> None:
    """A database that another program keeps locked: the end is given up after its bound; what was
    posted is written when the lock is gone, and the next prompt is told the whole conversation."""
    async with open_study([Say("Half"), Hang()], "next") as study:
        run = study.prompt()
        await study.until_text("Half")
        await wait_all_tasks_blocked()
        study.disk.stuck = True
        study.lane.cancel("test")
        begun = trio.current_time()
        await run.finished.wait()
        assert trio.current_time() - begun == pytest.approx(5, abs=0.01)
        assert run.outcome == "cancelled"
        assert "in time" in run.ending.error
        again = study.prompt("go on")
        await wait_all_tasks_blocked()
        study.disk.let_go()
        await again.finished.wait()
        assert told(await study.messages())[1] == "assistant canceled Half"
        request = scripted(study.model).requests[-1]
        assert [m.text for m in request.messages] == ["hello", "Half", "go on"]


# --- tools ----------------------------------------------------------------------------------------------


@pytest.mark.promise("C3", "R9")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("broken"),
        ExceptionGroup("g", [ExceptionGroup("h", [OSError("broken")])]),
        StoreError("broken"),
        sqlite3.OperationalError("broken"),
    ],
    ids=["plain", "group", "ours", "sqlite"],
)
@pytest.mark.parametrize("parallel", [False, True])
async def test_a_tool_that_raises_anything_is_a_result_for_the_model(
    error: Exception, parallel: bool, autojump_clock: MockClock
) -> None:
    """The other calls of the step are carried out, and the turn goes on."""

    async def breaking(_: ToolContext) -> ToolAnswer:
        await trio.lowlevel.checkpoint()
        raise error

    script = [[Call("break"), Call("look")], "done"]
    tools = [tool("look"), FunctionTool("break", breaking, parallel=parallel)]
    async with open_study(*script, tools=tools) as study:
        run = await study.play()
        assert (run.outcome, run.text) == ("completed", "done")
        results = {
            each.name: each for message in await study.messages() for each in message.tool_results
        }
        assert results["break"].is_error
        assert results["break"].content == "the tool break failed: broken"
        assert results["look"].content == "done"
        check_history(await study.messages())


async def stray_cancel() -> trio.Cancelled:
    """Return a cancel that has escaped from its scope."""
    found: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            found.append(cancelled)
            raise
    return found[0]


@pytest.mark.promise("C3", "R9")
@pytest.mark.parametrize("how", ["a cancel", "a cancel and an error", "an exit"])
@pytest.mark.parametrize("parallel", [False, True])
async def test_a_tool_that_lets_out_what_would_end_us_is_a_result_for_the_model(
    how: str, parallel: bool, autojump_clock: MockClock
) -> None:
    """A cancel of a scope of its own, or ``sys.exit``: the other calls are carried out all the same."""

    async def breaking(_: ToolContext) -> ToolAnswer:
        cancelled = await stray_cancel()
        match how:
            case "a cancel":
                raise cancelled
            case "an exit":
                raise SystemExit(3)
            case _:
                raise BaseExceptionGroup("two", [cancelled, ValueError("broken")])

    script = [[Call("break"), Call("look")], "done"]
    tools = [tool("look"), FunctionTool("break", breaking, parallel=parallel)]
    async with open_study(*script, tools=tools) as study:
        run = await study.play()
        assert (run.outcome, run.text) == ("completed", "done")
        messages = await study.messages()
        results = {each.name: each for message in messages for each in message.tool_results}
        assert results["look"].content == "done"
        assert results["break"].is_error
        why = {"a cancel": "it was cancelled from within", "an exit": "exit(3) was called"}
        assert results["break"].content == f"the tool break failed: {why.get(how, 'broken')}"
        check_history(messages)


@pytest.mark.promise("R5")
@pytest.mark.parametrize("parallel", [False, True])
async def test_a_cancel_of_ours_passes_through_a_tool(
    parallel: bool, autojump_clock: MockClock
) -> None:
    """Also beside something that the tool raises then."""

    async def falling() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("broken")

    async def waiting(_: ToolContext) -> ToolAnswer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(falling)
            await trio.sleep_forever()
        raise AssertionError

    wait = FunctionTool("wait", waiting, parallel=parallel)
    async with open_study([Call("wait"), Call("wait")], tools=[wait]) as study:
        run = study.prompt()
        await wait_all_tasks_blocked()
        study.lane.cancel("test")
        await run.finished.wait()
        assert (run.outcome, len(wait.ran)) == ("cancelled", 2 if parallel else 1)
        assert told(await study.messages())[-1] == f"tool stop {CANCELLED_RESULT}"
        check_history(await study.messages())


@pytest.mark.promise("C3", "R9")
@pytest.mark.parametrize(
    ("answer", "is_error", "content"),
    [
        (ToolAnswer("bad \udcff name"), False, "bad ? name"),
        (ToolAnswer("x", metadata={"path": "\udcff"}), False, "x"),
        (ToolAnswer("x", metadata={"when": object()}), True, "the tool odd failed:"),
    ],
    ids=["text", "metadata", "metadata that is no JSON"],
)
async def test_what_a_tool_says_that_cannot_be_stored_does_not_fail_the_run(
    answer: ToolAnswer, is_error: bool, content: str, autojump_clock: MockClock
) -> None:
    """A file name that is no UTF-8, a value that is no JSON."""

    async def odd(_: ToolContext) -> ToolAnswer:
        await trio.lowlevel.checkpoint()
        return answer

    async with open_study(Call("odd"), "done", tools=[FunctionTool("odd", odd)]) as study:
        run = await study.play()
        assert run.outcome == "completed"
        ((result,),) = [m.tool_results for m in await study.messages() if m.role == "tool"]
        assert result.is_error is is_error
        assert content in result.content


@pytest.mark.promise("C3", "R9")
async def test_calls_that_make_no_sense_are_results_for_the_model(
    autojump_clock: MockClock,
) -> None:
    """An unknown tool; arguments beyond repair; arguments nested beyond reason."""
    looked = tool("look")
    calls = [Call("nothing"), Call("look", "no json"), Call("look", '{"a":' * 5000)]
    async with open_study(calls, "done", tools=[looked]) as study:
        run = await study.play()
        assert run.outcome == "completed"
        results = [m.tool_results[0] for m in await study.messages() if m.role == "tool"]
        assert [result.is_error for result in results] == [True] * 3
        assert "tool not found: nothing. Available tools: look" in results[0].content
        assert "not valid JSON" in results[1].content
        assert looked.ran == []
        check_history(await study.messages())


# --- providers ----------------------------------------------------------------------------------------


@attrs.define(eq=False)
class OwnProvider:
    """A provider of somebody's own: each answer is a function that yields deltas."""

    answers: list[Callable[[], AsyncGenerator[Delta]]]

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Play the next answer, whatever is asked."""
        del request
        answer = self.answers.pop(0)()
        async with aclosing(answer):
            yield answer


async def fine() -> AsyncGenerator[Delta]:
    """Answer as one should."""
    await trio.lowlevel.checkpoint()
    yield TextDelta("fine")
    yield StreamEnd("end_turn")


@pytest.mark.promise("C3", "R7", "R13")
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("a cancel", "the provider was cancelled from within"),
        ("an exit", "exit(3) was called"),
        ("no id", "the provider announced a tool call without an id"),
    ],
)
async def test_a_provider_that_lets_out_what_would_end_us_fails_its_run_with_a_reason(
    how: str, reason: str, autojump_clock: MockClock
) -> None:
    """And nothing else: the next prompt is answered."""

    async def breaking() -> AsyncGenerator[Delta]:
        yield TextDelta("Well")
        if how == "no id":
            yield ToolCallStart("", "look")
        if how == "an exit":
            raise SystemExit(3)
        raise await stray_cancel()

    async with open_study(model=OwnProvider([breaking, fine])) as study:
        run = await study.play()
        assert (run.outcome, run.text, run.ending.error) == ("failed", "Well", reason)
        assert (await study.play("go on")).text == "fine"
        check_history(await study.messages())
        check_ends(study.events, [run])


@pytest.mark.promise("C3", "R5")
async def test_a_provider_that_never_waits_can_be_cancelled_and_holds_up_nobody(
    autojump_clock: MockClock,
) -> None:
    """It has the next delta ready at once, for ever."""
    said = 0

    async def endless() -> AsyncGenerator[Delta]:
        nonlocal said
        while said < 20_000:  # for ever, but this test ends
            said += 1
            yield TextDelta("x")

    async with open_study(model=OwnProvider([endless, fine])) as study:
        run = study.prompt()
        await study.until_text("x")
        study.lane.cancel("test")
        await run.finished.wait()
        assert run.outcome == "cancelled"
        assert len(run.text) == said < 20_000
        assert (await study.play("go on")).text == "fine"
        check_history(await study.messages())


@pytest.mark.promise("R9")
async def test_a_call_whose_name_cannot_be_encoded_does_not_spoil_the_conversation(
    autojump_clock: MockClock,
) -> None:
    """Half a surrogate pair in an id or a name: it is stored as something that can be."""

    async def odd() -> AsyncGenerator[Delta]:
        await trio.lowlevel.checkpoint()
        yield ToolCallStart("call\ud800", "lo\ud800ok")
        yield ToolCallEnd("call\ud800", "lo\ud800ok", "{}")
        yield StreamEnd("tool_use")

    async with open_study(model=OwnProvider([odd, fine]), tools=[tool("lo?ok")]) as study:
        run = await study.play()
        assert (run.outcome, run.text) == ("completed", "fine")
        check_history(await study.messages())


@pytest.mark.promise("C3")
@pytest.mark.parametrize(
    ("usage", "tokens", "cost"),
    [
        (Usage(input=-1, output=-1), (2, 1), 0.0),
        (Usage(input=-5, output=7, cost=0.5), (0, 7), 0.5),
        (Usage(input=2**70, output=7), (2**53 - 1, 7), 0.0),
        (Usage(input=3, output=7, cost=-0.5), (3, 7), 0.0),
        (Usage(input=3, output=7, cost=float("inf")), (3, 7), 0.0),
        (Usage(input=3, output=7, cost=float("nan")), (3, 7), 0.0),
    ],
)
async def test_an_answer_is_not_lost_to_a_count_that_cannot_be(
    usage: Usage, tokens: tuple[int, int], cost: float, autojump_clock: MockClock
) -> None:
    """Some servers report -1 for what they do not know."""
    async with open_study([Say("fine"), Report(usage)]) as study:
        run = await study.play()
        assert (run.outcome, run.text) == ("completed", "fine")
        session = await study.store.session(study.session_id)
        assert session is not None
        assert (session.prompt_tokens, session.completion_tokens) == tokens
        assert session.cost == cost


# --- clocks -------------------------------------------------------------------------------------------


@pytest.mark.promise("R9")
async def test_a_clock_that_is_set_back_does_not_mix_up_the_conversation(
    autojump_clock: MockClock,
) -> None:
    """Between two prompts and within a turn: what was said later is read later, also by Crush."""
    script = ["first", [Call("look")], "second", "the summary", "third"]

    async def look(_: ToolContext) -> ToolAnswer:
        await trio.lowlevel.checkpoint()
        study.set_back = 7200
        return ToolAnswer("seen")

    async with open_study(*script, tools=[FunctionTool("look", look)]) as study:
        await study.play("one")
        study.set_back = 3600
        await study.play("two")
        study.histories.drop(study.session_id)
        await study.summarize().finished.wait()
        messages = await study.messages()
        assert [(message.role, message.text) for message in messages] == [
            ("user", "one"),
            ("assistant", "first"),
            ("user", "two"),
            ("assistant", ""),
            ("tool", ""),
            ("assistant", "second"),
            ("assistant", "the summary"),
        ]
        check_history(messages)
