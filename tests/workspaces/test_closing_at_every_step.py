"""A workspace that is opened, prompted and listened to, and an end that strikes at any step of it.

The steps are the scheduler's, from the first one of the opening on. Each strike has a host of its
own; what is left afterwards must be nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
import trio._core._run as trio_run  # the scheduler's source of chance
import trio.testing
from trio.testing import MockClock

from core_kit import Town, accepted, check_ends, drain, live_tasks, open_town
from crush_trio.errors import (
    ClientRetiredError,
    ServerClosingError,
    StoreError,
    WorkspaceClosingError,
)
from crush_trio.ids import ClientID, RunID
from crush_trio.messages import Prompt
from crush_trio.providers.base import ModelRequest
from crush_trio.providers.scripted import Answer, Call, Say, ScriptedModel, Think
from crush_trio.runs import Run
from crush_trio.wire.events import Event

A = ClientID("a")

STRIDE = 3
"""Steps between two strikes: every one would take four seconds for no other outcome."""

REFUSALS = (ClientRetiredError, ServerClosingError, StoreError, WorkspaceClosingError)


class Strike(trio.abc.Instrument):
    """Counts the scheduler's steps, and does something sync before the one with this number."""

    def __init__(self, at: int, action: Callable[[], None]) -> None:
        self.count = 0
        self._at = at
        self._action = action

    @property
    def struck(self) -> bool:
        """Whether it came that far."""
        return self.count > self._at

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 -- any task's
        if self.count == self._at:
            self._action()
        self.count += 1


@attrs.define(eq=False)
class Visit:
    """What one client came to."""

    town: Town
    runs: list[Run] = attrs.field(factory=list[Run])
    events: list[Event] = attrs.field(factory=list[Event])
    came_to: str = "refused"

    async def __call__(self) -> None:
        """Open the workspace, listen, prompt twice, and wait for all of it to end."""
        try:
            workspace = await self.town.open("a")
            with workspace.attach(A) as stream:
                session = await self.town.session(workspace)
                for name in ("one", "two"):
                    run = workspace.submit(session, Prompt(name), RunID(name))
                    self.runs.append(accepted(run))
                for run in self.runs:
                    await run.finished.wait()
                self.town.host.retire(A)  # if nobody has struck by now
                self.events = await drain(stream)
            self.came_to = ", ".join(str(run.outcome) for run in self.runs)
        except REFUSALS as error:
            self.came_to = type(error).__name__


def answer(request: ModelRequest) -> Answer:
    """Call a tool, then say something."""
    if request.messages[-1].role == "user":
        return [Think("Hm."), Say("Let me look."), Call("ls")]
    return [Say("It is empty.", pause=0.05)]


@pytest.mark.promise("R1", "R3", "R4", "R8", "W2", "W4", "W5", "S6")
@pytest.mark.parametrize("how", ["the server closes", "the last client retires"])
def test_an_end_at_any_step_leaves_nothing_behind(how: str, tmp_path: Path) -> None:
    """Runs settle once, as cancelled if they had not concluded; streams end behind them; the store
    is closed; no task is left; and whoever came too late is told so."""
    ends: Counter[str] = Counter()

    async def visit(at: int) -> bool:
        before = live_tasks()
        trio_run._r.seed(at)
        model = ScriptedModel(respond=answer)
        async with open_town(tmp_path, model=model) as town:
            closing = how == "the server closes"
            action = town.host.begin_closing if closing else (lambda: town.host.retire(A))
            strike, guest = Strike(at, action), Visit(town)
            trio.lowlevel.add_instrument(strike)
            try:
                await guest()
            finally:
                trio.lowlevel.remove_instrument(strike)
            await trio.testing.wait_all_tasks_blocked()
            assert town.host.workspaces == []
            assert town.open_now == 0
            assert model.open_streams == 0
            if guest.events:
                check_ends(guest.events, guest.runs)
            assert all(run.settled for run in guest.runs)
        assert live_tasks() == before
        ends[guest.came_to] += 1
        return strike.struck

    async def main() -> None:
        at = 0
        with trio.fail_after(36_000):
            while await visit(at):
                at += STRIDE
        assert at > 100, "the scenario is too small to prove anything"

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert "failed" not in " ".join(ends)
    assert {"cancelled, cancelled", "completed, cancelled"} <= ends.keys()
