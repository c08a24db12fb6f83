"""Summaries: what the model is asked, what is stored however they end, and who is idle when."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock

from core_kit import (
    CHOSEN,
    Disk,
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
from crush_trio.agent.summary import INSTRUCTION, continuation, instruction, is_nearly_full
from crush_trio.errors import ProviderError
from crush_trio.providers.base import Usage
from crush_trio.providers.script import Op
from crush_trio.providers.scripted import Call, Fail, Finish, Hang, Report, Say
from crush_trio.runs import Run
from crush_trio.tools.base import ToolAnswer, ToolContext, denied
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sessions import Session, Todo

WINDOW = {
    "chosen": attrs.evolve(CHOSEN, model=CHOSEN.model.__class__("m", context_window=1000)),
    "auto_summarize": True,
}
"""A model whose window is nearly full at 800 tokens."""

REFUSED = ProviderError("no summary today", title="Bad Request", http_status=400)

FULL = Report(Usage(input=790, output=10))


async def ended(run: Run) -> Run:
    """Wait until a run has settled."""
    await run.finished.wait()
    return run


async def test_a_summary_stands_for_the_conversation(autojump_clock: MockClock) -> None:
    """Its message, the session's counters, and what the model is told afterwards (wire 6.8)."""
    async with open_study(
        "one", [Say("We said one."), Report(Usage(input=500, output=30))], "two"
    ) as study:
        await study.play("hello")
        begun = len(study.events)
        run = await ended(study.summarize())
        assert run.outcome == "completed"
        assert [f"{e.type} {e.change}" for e in study.events[begun:]] == [
            "message created",
            "message updated",
            "message updated",
            "session updated",
        ]
        session = study.events[-1].payload
        assert isinstance(session, Session)
        summary = (await study.messages())[-1]
        assert summary.is_summary_message
        assert (summary.text, summary.finish and summary.finish.reason) == (
            "We said one.",
            "end_turn",
        )
        assert (
            session.summary_message_id,
            session.prompt_tokens,
            session.completion_tokens,
        ) == (
            summary.id,
            0,
            30,
        )
        await study.play("go on")
        asked, later = scripted(study.model).requests[1:]
        assert [m.role for m in asked.messages] == ["system", "user", "assistant", "user"]
        assert asked.messages[-1].text == INSTRUCTION
        assert asked.tools == ()
        assert [(m.role, m.text) for m in later.messages] == [
            ("user", "We said one."),
            ("user", "go on"),
        ]
        check_history(await study.messages())


@pytest.mark.promise("R5", "R6")
async def test_a_cancelled_summary_is_gone(autojump_clock: MockClock) -> None:
    """It is in no receipt, but whoever asks is told when it has ended (wire contract 0, R-44)."""
    async with open_study("one", [Say("We sa"), Hang()]) as study:
        await study.play()
        before = await study.store.session(study.session_id)
        run = study.summarize()
        await study.until_text("We sa")
        receipt = study.lane.cancel("by the test")
        assert receipt.snapshot().runs == ()
        assert not receipt.snapshot().settled
        await receipt.wait_settled()
        assert (run.outcome, receipt.snapshot().settled) == ("cancelled", True)
        last = study.events[-1]
        assert (last.type, last.change) == ("message", "deleted")
        assert isinstance(last.payload, WireMessage)
        assert last.payload.text == "We sa"
        assert told(await study.messages()) == ["user stop hello", "assistant end_turn one"]
        assert await study.store.session(study.session_id) == before
        assert (await study.play("next")).outcome == "completed"
        roles = [m.role for m in scripted(study.model).requests[-1].messages]
        assert roles == ["user", "assistant", "user"]


async def test_a_failed_summary_says_so_and_is_not_used(autojump_clock: MockClock) -> None:
    """A finish with the reason, so that no client waits for the rest of it (wire contract 6.8)."""
    async with open_study("one", Fail(REFUSED), "two") as study:
        await study.play()
        run = await ended(study.summarize())
        assert run.ending.error == "bad request: no summary today"
        finish = (await study.messages())[-1].finish
        assert finish is not None
        assert (finish.reason, finish.message, finish.details) == (
            "error",
            "Summarization Error",
            "bad request: no summary today",
        )
        session = await study.store.session(study.session_id)
        assert session is not None
        assert session.summary_message_id == ""
        assert (await study.play("next")).text == "two"


@pytest.mark.parametrize("answer", ["", [Call("look")]])
async def test_an_empty_summary_is_a_failure(autojump_clock: MockClock, answer: object) -> None:
    """Nothing would be left of the conversation; a call of a tool is no summary either."""
    async with open_study("one", answer) as study:
        await study.play()
        run = await ended(study.summarize())
        assert run.ending.error == "the model wrote no summary"
        check_history(await study.messages())


@pytest.mark.promise("R8")
@pytest.mark.parametrize("end", ["used", "cancelled", "failed"])
async def test_the_session_is_idle_before_the_last_event(
    autojump_clock: MockClock, end: str
) -> None:
    """No later event will tell a client to look again (issue: nothing is lost at the edges)."""
    script = {"used": "sum", "cancelled": [Say("sum"), Hang()], "failed": Fail(REFUSED)}
    async with open_study("one", script[end]) as study:
        await study.play()
        store_events = len(study.events)
        busy: list[bool] = []
        publish = study.store._writer._publish

        def noting(event: Event) -> None:
            busy.append(study.lane.busy)
            publish(event)

        study.store._writer._publish = noting
        run = study.summarize()
        if end == "cancelled":
            await study.until_text("sum")
            study.lane.cancel("by the test")
        await run.finished.wait()
        assert len(study.events) > store_events
        assert busy[-1] is False
        assert all(busy[:-1])


@pytest.mark.promise("R13")
async def test_a_prompt_that_comes_meanwhile_runs_next(autojump_clock: MockClock) -> None:
    """It waits behind the summary and then has the summary as its context (wire contract 8.5)."""
    async with open_study("one", "the summary", "two") as study:
        await study.play()
        summary = study.summarize()
        prompt = study.prompt("next")
        assert study.lane.waiting == (prompt,)
        await prompt.finished.wait()
        assert (summary.outcome, prompt.text) == ("completed", "two")
        assert [m.text for m in scripted(study.model).requests[-1].messages] == [
            "the summary",
            "next",
        ]


async def test_an_empty_session_needs_no_summary(autojump_clock: MockClock) -> None:
    """Nothing happens, and that is a success (agent contract 1.15)."""
    async with open_study() as study:
        events = len(study.events)
        assert (await ended(study.summarize())).outcome == "completed"
        assert len(study.events) == events
        assert scripted(study.model).requests == []


@pytest.mark.promise("C2")
async def test_a_summary_that_cannot_be_stored_fails(autojump_clock: MockClock) -> None:
    """And the lane goes on (C2)."""
    disk = Disk()
    async with open_study("one", "sum", "two", disk=disk) as study:
        await study.play()
        await break_writes(study.store, "UPDATE", text="sum")
        run = await ended(study.summarize())
        assert run.outcome == "failed"
        assert not study.lane.busy


@pytest.mark.promise("C2", "R9")
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_summary_whose_end_was_refused_once_is_closed_all_the_same(
    is_cancelled: bool, autojump_clock: MockClock
) -> None:
    """No client shows it as being written for ever, and the conversation goes on without it."""
    async with open_study("one", [Say("sum"), *[Hang()] * is_cancelled], "two") as study:
        await study.play()
        refused = ("DELETE", "") if is_cancelled else ("UPDATE", '"reason":"end_turn"')
        await break_writes(study.store, refused[0], text=refused[1])
        run = study.summarize()
        if is_cancelled:
            await study.until_text("sum")
            study.lane.cancel("test")
        await run.finished.wait()
        assert run.outcome == ("cancelled" if is_cancelled else "failed")
        assert "disk I/O error" in run.ending.error
        await mend_writes(study.store)
        assert (await study.play("go on")).text == "two"
        assert told(await study.messages())[2] == "assistant error sum"
        check_history(await study.messages())


# --- when the window fills up ------------------------------------------------------------------


def test_the_window_is_nearly_full_at_the_contract_s_threshold() -> None:
    """20,000 tokens of a large window, a fifth of a smaller one, never for an unknown one."""
    assert not is_nearly_full(0, 10**9)
    assert not is_nearly_full(1000, 799)
    assert is_nearly_full(1000, 800)
    assert not is_nearly_full(200_000, 159_999)
    assert is_nearly_full(200_000, 160_000)
    assert not is_nearly_full(400_000, 379_999)
    assert is_nearly_full(400_000, 380_000)


def test_the_list_of_todos_is_carried_over() -> None:
    """It would be lost with the conversation (agent contract 1.15)."""
    asked = instruction([Todo("Ship", "in_progress", "Shipping"), Todo("Rest")])
    assert "## Current Todo List\n\n- [in_progress] Ship\n- [pending] Rest\n" in asked
    assert "`todos`" in asked


@pytest.mark.promise("R12")
async def test_unfinished_work_goes_on_as_the_same_run_after_a_summary(
    autojump_clock: MockClock,
) -> None:
    """The step is closed, the summary made, the request quoted; one end, at the very end (6.8)."""
    script = [[Call("look"), FULL], "the summary", "done"]
    async with open_study(*script, tools=[tool("look")]) as study:
        study.gear = WINDOW
        run = study.prompt("do it", "r1")
        after = study.prompt("later", "r2")
        await after.finished.wait()
        assert told(await study.messages()) == [
            "user stop do it",
            "assistant tool_use",
            "tool stop done",
            "assistant end_turn the summary",
            f"user stop {continuation('do it')}",
            "assistant end_turn done",
            "user stop later",
            "assistant end_turn ok",
        ]
        assert run.text == "done"
        last = scripted(study.model).requests[2]
        assert [m.text for m in last.messages] == ["the summary", continuation("do it")]
        check_ends(study.events, [run, after])
        check_history(await study.messages())


async def test_a_summary_that_makes_no_room_is_not_made_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the first request after it is as full, the work goes on: no summary follows the other."""
    look: list[Op] = [Call("look"), FULL]
    script = [look, "one summary", look, look, [Say("done"), FULL], "a last one"]
    async with open_study(*script, tools=[tool("look")]) as study:
        study.gear = WINDOW
        run = await study.play("do it")
        assert (run.outcome, run.text) == ("completed", "done")
        assert told(await study.messages()) == [
            "user stop do it",
            "assistant tool_use",
            "tool stop done",
            "assistant end_turn one summary",
            f"user stop {continuation('do it')}",
            "assistant tool_use",
            "tool stop done",
            "assistant tool_use",
            "tool stop done",
            "assistant end_turn done",
            "assistant end_turn a last one",
        ]
        assert "fills the window of model m even after a summary" in caplog.text
        check_ends(study.events, [run])


async def test_a_finished_answer_is_followed_by_its_summary(autojump_clock: MockClock) -> None:
    """The answer is complete before; the run's end comes behind both, with the answer's text."""
    async with open_study([Say("answer"), FULL], "the summary", "next") as study:
        study.gear = WINDOW
        run = await study.play()
        assert (run.outcome, run.text) == ("completed", "answer")
        assert told(await study.messages())[1:] == [
            "assistant end_turn answer",
            "assistant end_turn the summary",
        ]
        end = study.events[-1].payload
        assert isinstance(end, RunComplete)
        assert (end.message_id, end.text) == (run.message_id, "answer")
        await study.play("more")
        texts = [m.text for m in scripted(study.model).requests[-1].messages]
        assert texts == ["the summary", "more"]


@pytest.mark.parametrize("gear", [{}, {**WINDOW, "auto_summarize": False}])
async def test_no_summary_is_made_where_none_is_wanted(
    autojump_clock: MockClock, gear: dict[str, object]
) -> None:
    """An unknown window, or ``options.disable_auto_summarize`` (agent contract 1.15)."""
    async with open_study([Say("answer"), FULL]) as study:
        study.gear = gear
        await study.play()
        assert len(scripted(study.model).requests) == 1


async def test_a_summary_that_fails_takes_no_finished_answer_with_it(
    autojump_clock: MockClock,
) -> None:
    """The answer was given; only the summary's own message tells of the failure."""
    async with open_study([Say("answer"), FULL], Fail(REFUSED)) as study:
        study.gear = WINDOW
        run = await study.play()
        assert (run.outcome, run.text) == ("completed", "answer")
        assert told(await study.messages())[1:] == [
            "assistant end_turn answer",
            "assistant error",
        ]


@pytest.mark.promise("R7", "R9")
async def test_work_that_needs_a_summary_fails_with_it(autojump_clock: MockClock) -> None:
    """There is no room to go on; the conversation is well formed all the same."""
    script = [[Call("look"), FULL], Fail(REFUSED)]
    async with open_study(*script, tools=[tool("look")]) as study:
        study.gear = WINDOW
        run = await study.play()
        assert (run.outcome, run.ending.error) == ("failed", "bad request: no summary today")
        check_ends(study.events, [run])
        check_history(await study.messages())


@pytest.mark.promise("R5", "R9")
@pytest.mark.parametrize("first", [[Say("answer"), FULL], [Call("look"), FULL]])
async def test_a_run_that_is_cancelled_in_its_summary_leaves_none(
    autojump_clock: MockClock, first: list[object]
) -> None:
    """The summary goes, what was said before it stays, and the run is cancelled (R5)."""
    async with open_study(first, [Say("sum"), Hang()], tools=[tool("look")]) as study:
        study.gear = WINDOW
        run = study.prompt()
        await study.until_text("sum")
        study.lane.cancel("by the test")
        await run.finished.wait()
        messages = await study.messages()
        assert run.outcome == "cancelled"
        assert not any(message.is_summary_message for message in messages)
        assert messages[1].finish is not None
        assert messages[1].finish.reason == "canceled"
        check_ends(study.events, [run])
        check_history(messages)


async def test_a_denied_step_is_not_gone_on_with(autojump_clock: MockClock) -> None:
    """A turn that a tool stops is summarised and ends (agent contract 1.10)."""
    stopping = FunctionTool("look", _deny)
    script = [[Call("look"), FULL, Finish("tool_use")], "the summary"]
    async with open_study(*script, tools=[stopping]) as study:
        study.gear = WINDOW
        run = await study.play()
        assert run.outcome == "completed"
        assert told(await study.messages())[-1] == "assistant end_turn the summary"
        assert len(scripted(study.model).requests) == 2


async def _deny(_: ToolContext) -> ToolAnswer:
    await trio.lowlevel.checkpoint()
    return denied()
