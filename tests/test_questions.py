"""The questions of a workspace: who is asked, who answers, and what everybody learns of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.questions import Questions, Responses
from crush_trio.wire.events import Event, QuestionNotification
from crush_trio.wire.questions import QuestionItem, QuestionRequest, QuestionResponse


@attrs.define(eq=False)
class Asking:
    """One tool's batch and what became of it."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    done: bool = False
    responses: Responses | None = None


@attrs.define(eq=False)
class Desk:
    """Questions, what was published, and tools that ask."""

    questions: Questions
    events: list[Event]
    nursery: trio.Nursery

    async def ask(self, item: str = "q1") -> Asking:
        """Let a tool ask, and return when it waits or is done."""
        asking = Asking()
        self.nursery.start_soon(self._ask, asking, item)
        await wait_all_tasks_blocked()
        return asking

    async def _ask(self, asking: Asking, item: str) -> None:
        with asking.scope:
            asking.responses = await self.questions.ask(
                session_id="s",
                tool_call_id=f"call {item}",
                questions=[QuestionItem(id=item, type="yes_no", question="Sure?")],
            )
            asking.done = True

    def told(self) -> list[str]:
        """Return what was published: ``asked`` or ``closed`` and the number of the batch."""
        ids: list[str] = []
        found: list[str] = []
        for event in self.events:
            match event.payload:
                case QuestionRequest(id=id_):
                    ids.append(id_)
                    found.append(f"asked {len(ids)}")
                case QuestionNotification(batch_id):
                    found.append(f"closed {ids.index(batch_id) + 1}")
                case _:
                    raise AssertionError(event)
        return found


@asynccontextmanager
async def open_desk() -> AsyncGenerator[Desk]:
    events: list[Event] = []
    with trio.fail_after(5):
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            yield Desk(Questions(events.append), events, nursery)
            nursery.cancel_scope.cancel("the test is over")


def yes(item: str = "q1", *, is_yes: bool = True) -> Responses:
    return (QuestionResponse(item, yes=is_yes),)


@pytest.mark.promise("D1")
async def test_the_first_answer_wins_and_everybody_learns_that_it_is_decided() -> None:
    """Of two answers and a refusal exactly the first one counts (D1)."""
    async with open_desk() as desk:
        asking = await desk.ask()
        assert desk.questions.answer(yes())
        assert not desk.questions.answer(yes(is_yes=False))
        assert not desk.questions.refuse()
        await wait_all_tasks_blocked()
        assert asking.done
        assert asking.responses == yes()
        assert desk.told() == ["asked 1", "closed 1"]


async def test_a_refusal_is_an_answer_of_its_own() -> None:
    """The tool is told that nobody will answer; a later answer decides nothing (R-34)."""
    async with open_desk() as desk:
        asking = await desk.ask()
        assert desk.questions.refuse()
        assert not desk.questions.answer(yes())
        await wait_all_tasks_blocked()
        assert (asking.done, asking.responses) == (True, None)
        assert desk.told() == ["asked 1", "closed 1"]


@pytest.mark.promise("D3")
async def test_a_cancelled_batch_is_withdrawn_on_every_client() -> None:
    """A run that is cancelled asks nothing any more, and its form is closed (D3)."""
    async with open_desk() as desk:
        asking = await desk.ask()
        asking.scope.cancel("the run is cancelled")
        await wait_all_tasks_blocked()
        assert not asking.done
        assert desk.told() == ["asked 1", "closed 1"]
        assert desk.questions.open_requests() == ()
        assert not desk.questions.answer(yes())


@pytest.mark.promise("D2")
async def test_who_comes_late_is_told_of_what_is_open() -> None:
    """The open batch, unchanged, until it is decided (D2)."""
    async with open_desk() as desk:
        await desk.ask()
        (event,) = desk.questions.open_events()
        assert event.frame == desk.events[0].frame
        assert desk.questions.open_requests() == (event.payload,)
        desk.questions.refuse()
        assert desk.questions.open_events() == []


async def test_one_batch_is_open_at_a_time() -> None:
    """The next one is asked when the first has been decided, and no answer goes astray (9.4)."""
    async with open_desk() as desk:
        first, second = await desk.ask("q1"), await desk.ask("q2")
        assert desk.told() == ["asked 1"]
        desk.questions.answer(yes("q1"))
        await wait_all_tasks_blocked()
        assert (first.done, second.done) == (True, False)
        assert desk.told() == ["asked 1", "closed 1", "asked 2"]
        assert not desk.questions.answer(yes("q1")), "a late answer to the first batch"
        desk.questions.answer(yes("q2"))
        await wait_all_tasks_blocked()
        assert second.responses == yes("q2")


async def test_a_waiting_batch_that_is_cancelled_was_never_asked() -> None:
    """No client hears of it, and the one that is open stays open."""
    async with open_desk() as desk:
        await desk.ask("q1")
        second = await desk.ask("q2")
        second.scope.cancel("the run is cancelled")
        await wait_all_tasks_blocked()
        assert desk.told() == ["asked 1"]
        assert len(desk.questions.open_requests()) == 1


@pytest.mark.promise("D3")
async def test_an_ask_that_is_cancelled_before_it_is_open_is_never_shown() -> None:
    """Wherever the cancel strikes on the way to the question, nobody is asked for nothing."""
    shown_at_the_end = 0
    for steps in range(8):
        async with open_desk() as desk:
            asking = Asking()
            desk.nursery.start_soon(desk._ask, asking, "q1")
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            shown = desk.told()
            asking.scope.cancel()
            await wait_all_tasks_blocked()
            assert ("asked 1" in desk.told()) == ("asked 1" in shown)
            shown_at_the_end += "asked 1" in shown
    assert 0 < shown_at_the_end < 8


async def test_an_answer_may_name_its_batch() -> None:
    """Crush's client leaves the name empty; a wrong one decides nothing (R-33)."""
    async with open_desk() as desk:
        await desk.ask()
        (request,) = desk.questions.open_requests()
        assert not desk.questions.answer(yes(), "another")
        assert desk.questions.answer((), request.id), "to skip every question is an answer"


async def test_nothing_is_open_in_the_beginning() -> None:
    """An answer and a refusal without a question decide nothing."""
    async with open_desk() as desk:
        await trio.lowlevel.checkpoint()
        assert not desk.questions.answer(())
        assert not desk.questions.refuse()
        assert desk.events == []
