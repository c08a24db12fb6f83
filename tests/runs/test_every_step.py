"""A small scenario, and a cancel that strikes at every single step of it.

The steps are the scheduler's: between two of them nothing happens, so a strike at each is a strike
at every moment. What must hold afterwards is the same at all of them. Each strike has a session of
its own; the turns, the lane, the permission gate and the store's code are the real ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
import pytest
import trio
import trio._core._run as trio_run  # the scheduler's source of chance
import trio.testing
from trio.testing import MockClock

from core_kit import Owner, Study, asking, check_ends, check_history, open_study, scripted, tool
from crush_trio.errors import ProviderError
from crush_trio.ids import SessionID
from crush_trio.messages import Message
from crush_trio.providers.base import ModelRequest
from crush_trio.providers.scripted import Answer, Call, Fail, Pause, Say, Think
from crush_trio.runs import Receipt, Run
from crush_trio.wire.events import Event, PermissionNotification, RunComplete
from crush_trio.wire.messages import WireMessage, wire_message
from crush_trio.wire.permissions import PermissionRequest

LONG = "Let me look at this, as they asked."
DOWN = ProviderError("connection refused", retryable=True)
TOOLS = [asking(), tool("quick"), tool("beside", parallel=True)]


class Strike(trio.abc.Instrument):
    """Counts the scheduler's steps, and does something sync before the one with this number."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        self.count = 0
        self.struck = False
        self._at = at
        self._action = action

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 -- any task's
        if self.count == self._at:
            self.struck = True
            self._action()
        self.count += 1


@attrs.define(eq=False)
class Model:
    """What the model answers, by what was said last; each session's first request fails once."""

    tried: set[str] = attrs.field(factory=set[str])

    def __call__(self, request: ModelRequest) -> Answer:
        last = request.messages[-1]
        match last.role, last.text:
            case "user", "one" if request.session_key not in self.tried:
                self.tried.add(request.session_key)
                return [Say("Half of it."), Call("quick"), Fail(DOWN)]
            case "user", "one":
                calls = [Call("ask"), Call("quick"), Call("beside"), Call("beside"), Call("none")]
                return [Think("They want it."), Say(LONG, pause=0.02), *calls]
            case _, "three":
                return [Say("Both", chunk=2), Pause(1), Say(" done.")]
            case _, text:
                return [Say(f"{text} done")]


@attrs.define(eq=False)
class Scenario:
    """One session's prompts, somebody who grants what is asked, and the strike."""

    study: Study
    session_id: SessionID
    owner: Owner
    before: list[Run] = attrs.field(factory=list[Run])
    after: list[Run] = attrs.field(factory=list[Run])
    receipt: Receipt | None = None
    concluded: list[Run] = attrs.field(factory=list[Run])
    events_from: int = 0

    def begin(self) -> None:
        """Accept a prompt with tools, and one that waits."""
        self.events_from = len(self.study.events)
        for text, run_id in (("one", "a"), ("two", "b")):
            self.before.append(self._prompt(text, run_id))

    def _prompt(self, text: str, run_id: str | None) -> Run:
        return self.study.prompt(text, run_id, session_id=self.session_id, owner=self.owner)

    def cancel(self) -> None:
        """Cancel, and accept a prompt in the same step."""
        self.concluded = [run for run in self.before if run.concluded]
        self.receipt = self.study.lane_of(self.session_id).cancel("struck")
        self.after.append(self._prompt("later", "d"))

    def tear_down(self) -> None:
        """Let the nursery of the runs go down."""
        self.concluded = [run for run in self.before if run.concluded]
        self.owner.nursery.cancel_scope.cancel("struck")

    async def be_there(self) -> None:
        """Grant what is asked, and prompt before that: this prompt folds into the next step."""
        with self.study.hub.subscribe() as subscription:
            while True:
                for event in await subscription.receive():
                    if isinstance(event.payload, PermissionRequest):
                        runs = self.before if self.receipt is None else self.after
                        runs.append(self._prompt("three", None))
                        self.study.permissions.answer(event.payload.id, "allow")

    @property
    def runs(self) -> list[Run]:
        return [*self.before, *self.after]

    @property
    def events(self) -> list[Event]:
        return [
            event
            for event in self.study.events[self.events_from :]
            if getattr(event.payload, "session_id", self.session_id) == self.session_id
        ]

    async def settled(self) -> None:
        """Wait until every run has settled."""
        while open_ones := [run for run in self.runs if not run.settled]:
            await open_ones[0].finished.wait()


async def check(scenario: Scenario) -> None:
    """Check what must hold whenever the strike came."""
    messages = await scenario.study.messages(scenario.session_id)
    check_ends(scenario.events, scenario.runs)
    check_history(messages)
    check_shown_is_stored(scenario.events, messages)
    assert not scenario.study.lane_of(scenario.session_id).busy
    assert not scenario.study.permissions.open_events()
    assert scripted(scenario.study.model).open_streams == 0
    assert sorted(run.id for run in scenario.owner.settled) == sorted(r.id for r in scenario.runs)
    for run in scenario.before:
        is_covered = run.cancelled_by is not None or (
            run.folded_into is not None and run.folded_into.cancelled_by is not None
        )
        assert run.outcome == ("cancelled" if is_covered else "completed"), run
        assert is_covered or run in scenario.concluded or scenario.receipt is None
    for run in scenario.after:
        assert run.outcome == "completed"
    if scenario.receipt is not None:
        covered = set(scenario.receipt.runs)
        assert covered == {run for run in scenario.before if run not in scenario.concluded}
        assert all(line.outcome == "cancelled" for line in scenario.receipt.snapshot().runs)


def check_shown_is_stored(events: list[Event], messages: list[Message]) -> None:
    """Check that what was shown last of each message is what is stored (R10, S4)."""
    shown: dict[str, WireMessage] = {}
    created: list[str] = []
    for event in events:
        if isinstance(event.payload, WireMessage):
            if event.change == "created":
                created.append(event.payload.id)
            assert event.payload.id in created
            shown[event.payload.id] = event.payload
    assert len(set(created)) == len(created)
    assert {message.id: wire_message(message).parts for message in messages} == {
        identity: message.parts for identity, message in shown.items()
    }


async def play(study: Study, at: int, action: str) -> tuple[bool, Scenario]:
    """Play the scenario with a strike before its step ``at``; return whether it came that far."""
    session = await study.session()
    async with trio.open_nursery() as people:
        async with trio.open_nursery() as nursery:
            scenario = Scenario(study, session, Owner(nursery))
            strike = Strike(at, scenario.cancel if action == "cancel" else scenario.tear_down)
            people.start_soon(scenario.be_there)
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope(shield=True):
                trio.lowlevel.add_instrument(strike)
                try:
                    scenario.begin()
                    await scenario.settled()
                finally:
                    trio.lowlevel.remove_instrument(strike)
        people.cancel_scope.cancel("the scenario is over")
    await check(scenario)
    return strike.struck, scenario


@pytest.mark.promise("R1", "R4", "R5", "R6", "R8", "R9", "R10", "R11", "R12", "R13", "R15", "D3")
@pytest.mark.parametrize("action", ["cancel", "tear down"])
def test_a_cancel_at_every_step_is_a_normal_end(action: str) -> None:
    """It covers every run that has not concluded, ends each of them once, as cancelled, leaves a
    conversation that can be gone on with, and reaches nothing that was accepted behind it."""
    outcomes: Counter[str] = Counter()

    async def main() -> None:
        model = Model()
        async with open_study(tools=TOOLS) as study:
            scripted(study.model)._respond = model
            at, came_so_far = 0, True
            while came_so_far:
                trio_run._r.seed(at)
                with trio.fail_after(3600):
                    came_so_far, scenario = await play(study, at, action)
                outcomes.update(str(run.outcome) for run in scenario.before)
                at += 1
            assert at > 150, "the scenario is too small to prove anything"

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert outcomes["failed"] == 0
    assert min(outcomes["cancelled"], outcomes["completed"]) > 50


@pytest.mark.promise("D1", "D3")
def test_at_every_step_each_question_is_answered_once() -> None:
    """However a cancel and an answer meet: clients learn of one decision for each request."""

    async def main() -> None:
        async with open_study(tools=TOOLS) as study:
            scripted(study.model)._respond = Model()
            at, came_so_far = 0, True
            while came_so_far:
                came_so_far, scenario = await play(study, at, "cancel")
                asked = [e for e in scenario.events if isinstance(e.payload, PermissionRequest)]
                told = [
                    event.payload
                    for event in study.events[scenario.events_from :]
                    if isinstance(event.payload, PermissionNotification)
                    and (event.payload.granted or event.payload.denied)
                ]
                assert len(told) == len(asked) <= 1
                assert isinstance(scenario.events[-1].payload, RunComplete)
                at += 3

    trio.run(main, clock=MockClock(autojump_threshold=0))
