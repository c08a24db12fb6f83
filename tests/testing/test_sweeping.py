"""The sweep: it strikes in every phase, finds what is planted, and finds nothing in the program."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
import trio

from crush_trio.providers.scripted import Call, Say
from crush_trio.testing import Place, open_place
from crush_trio.testing.disturbances import DISTURBANCES
from crush_trio.testing.operations import Create, Join, Listen, Prompt
from crush_trio.testing.phases import PHASES
from crush_trio.testing.report import Report
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios import SCENARIOS, STANDARD
from crush_trio.testing.steps import Steps
from crush_trio.testing.sweeping import baseline, chosen, spread, sweep
from crush_trio.testing.tools import ScriptedTool
from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.tools.scripted import SLEEP_FOREVER

HERE = (Join("a"), Create(), Listen("a"))

SAMPLE = 1
"""Steps of each scenario that a disturbance strikes at here; ``nox -s sweep`` strikes at all."""


@pytest.fixture(name="place", scope="module")
def _place() -> Iterator[Place]:
    with open_place() as place:
        yield place


@pytest.mark.promise(
    "R1", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13", "R14"
)
@pytest.mark.promise("W2", "W3", "W4", "W5", "D1", "D3", "C1", "C2", "S4")
def test_nothing_that_strikes_breaks_a_promise(place: Place) -> None:
    """A few steps of every scenario, and every disturbance at each: no promise is broken."""
    total = Report()
    for scenario in SCENARIOS.values():
        total.add(sweep(scenario, sample=SAMPLE, place=place))
    assert not total.violations, str(total)
    assert len(total.points) >= 25
    assert set(total.strikes) == set(DISTURBANCES), "some disturbance never struck"


MINIMUM = {
    "accepted": 900,
    "queued": 500,
    "folded": 40,
    "streaming": 1000,
    "tool": 250,
    "permission": 25,
    "retry": 30,
    "concluding": 200,
    "settled": 30,
}
"""Steps of all scenarios in each phase, at least: so many strikes each disturbance could do."""


def test_there_is_something_to_strike_at_in_every_phase(place: Place) -> None:
    """Counted over all scenarios, so that a sweep of nothing does not pass for a sweep."""
    assert set(MINIMUM) == set(PHASES)
    found: dict[str, int] = dict.fromkeys(PHASES, 0)
    for scenario in SCENARIOS.values():
        first = baseline(scenario, place, 0)
        assert not first.complaints
        assert len(first.places) > 50, scenario.name
        for phases in first.phases:
            for phase in phases:
                found[phase] += 1
    assert {name for name, least in MINIMUM.items() if found[name] < least} == set(), found


def test_the_same_seed_plays_the_same_story(place: Place) -> None:
    """Step by step; another seed plays another order of it."""

    def trace(seed: int) -> tuple[list[str], list[int]]:
        first = baseline(STANDARD, place, seed)
        return first.trace, first.places

    assert trace(3) == trace(3)
    assert len({tuple(trace(seed)[0]) for seed in range(4)}) == 4


class Leaving(ScriptedTool):
    """A tool that leaves its process running for a while when it is cancelled."""

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:
        try:
            return await super().run(arguments, context)
        except trio.Cancelled:
            job = context.around.jobs.start("orphan", description="", working_dir="/", env={})
            assert job.id
            raise


class Refusing(ScriptedTool):
    """A tool that hangs on to its run, whoever cancels, for longer than anybody waits."""

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:
        try:
            return await super().run(arguments, context)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(10_000)


def planted(tool: Callable[..., ScriptedTool]) -> Scenario:
    return Scenario(
        "planted",
        (*HERE, Prompt("one", "r")),
        {"one": [[Say("Look:"), Call("planted")], "Done."]},
        tools=(tool("planted", seconds=1.0),),
        commands={"orphan": SLEEP_FOREVER},
    )


def test_a_tool_that_leaves_a_process_is_found(place: Place) -> None:
    """Only a cancel in the middle of the tool shows it, and the sweep strikes there."""
    report = sweep(planted(Leaving), ["cancel"], place=place)
    assert report.violations
    assert {"processes are left" in each.complaint for each in report.violations} == {True}
    with pytest.raises(AssertionError, match="processes are left") as failed:
        report.check()
    line = re.findall(r"^(sweep\(.*\)) plays the first again$", str(failed.value), re.MULTILINE)[0]
    again: Report = eval(line, {"sweep": sweep, "scenario": planted(Leaving)})
    assert again.violations == report.violations[:1]
    assert again.strikes == {"cancel": 1}
    sweep(planted(ScriptedTool), ["cancel"], place=place).check()


def test_a_sweep_that_strikes_nothing_is_not_a_success(place: Place) -> None:
    """Nobody is asked for anything, so there is nothing that two could answer."""
    with pytest.raises(AssertionError, match="nothing was struck"):
        sweep(planted(ScriptedTool), ["two answers"], place=place).check()


def test_a_tool_that_does_not_end_is_found(place: Place) -> None:
    """A run that never settles is found at every step at which the tool is at work."""
    report = sweep(planted(Refusing), ["cancel"], place=place)
    assert any("never settle" in each.complaint for each in report.violations)


def test_what_came_before_the_strike_is_compared(place: Place) -> None:
    """A tool whose behaviour hangs on earlier runs is not deterministic, and the sweep says so."""
    numbers = iter(range(10_000))

    class Forgetful(ScriptedTool):
        async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:
            for _ in range(next(numbers) % 3):
                await trio.lowlevel.checkpoint()
            return await super().run(arguments, context)

    report = sweep(planted(Forgetful), ["drop a subscriber"], place=place)
    assert any("before the strike" in each.complaint for each in report.violations)


def test_a_sample_is_spread_and_shares_are_whole(place: Place) -> None:
    """A sample covers the whole story; the shares of two processes are all strikes, none twice."""
    assert spread(range(10), 3) == [1, 5, 8]
    assert spread(range(3), 5) == [0, 1, 2]
    whole = sweep(STANDARD, ["clear"], place=place)
    shares = [sweep(STANDARD, ["clear"], place=place, share=(k, 2)) for k in (0, 1)]
    assert whole.strikes["clear"] == sum(each.strikes["clear"] for each in shares) > 20
    total = Report()
    for each in shares:
        total.add(each)
    assert total.by_phase == whole.by_phase


def test_an_unknown_disturbance_is_refused() -> None:
    """A misspelt name would sweep nothing."""
    with pytest.raises(ValueError, match="no such thing"):
        chosen(STANDARD, ["no such thing"])
    assert "stop" in chosen(STANDARD)


def test_only_the_programs_steps_are_numbered(place: Place) -> None:
    """The test's own tasks are in the trace and have no number."""
    first = baseline(STANDARD, place, 0)
    names = {first.trace[place] for place in first.places}
    assert any(name.startswith("run ") for name in names)
    assert set(first.trace) - names, "the test itself has taken no step"
    assert Steps().count == 0
