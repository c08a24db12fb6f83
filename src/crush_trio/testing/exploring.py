"""Schedules: a story played with many seeds, each of which is another order of all that happens.

Synopsis::

    explore(scenario, seeds=1000).check()

What fails is made small before it is shown: operations are left out and delays shortened for as
long as the same complaint comes. The report says how to play it again.
"""

from __future__ import annotations

import os
import random
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext

import attrs

from crush_trio.testing.disturbances import DISTURBANCES
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.report import kind_of
from crush_trio.testing.running import SEED, default_seed
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios import SCENARIOS
from crush_trio.testing.shrinking import smaller
from crush_trio.testing.steps import Steps
from crush_trio.testing.sweeping import baseline, chosen, play

TRIES = 500
"""Runs that making a failure small may take."""

NEAR = (0, -1, 1, -2, 2)
"""How far from where it should be by counting a strike is looked for in a smaller story."""


@attrs.frozen
class Strike:
    """What strikes a story, and before which of its steps."""

    disturbance: str
    at: int

    def __str__(self) -> str:
        return f"struck by {self.disturbance!r} at step {self.at}"


@attrs.frozen
class Failure:
    """A seed that breaks a promise.

    Attributes:
        seed: The one.
        complaints: What was wrong, in the story as it was.
        strike: What struck there; None if nothing did.
        small: The smallest story found that has the same complaint with this seed.
        small_strike: What strikes the small story; None if it needs nothing.
        replay: A line that plays it again: for the shell, or for Python.
    """

    seed: int
    complaints: tuple[str, ...]
    strike: Strike | None
    small: Scenario
    small_strike: Strike | None
    replay: str

    def __str__(self) -> str:
        story = "".join(f"    {operation},\n" for operation in self.small.story)
        answers = "".join(f"    {text!r}: {said},\n" for text, said in self.small.answers.items())
        return (
            f"seed {self.seed}{_comma(self.strike)}: {'; '.join(self.complaints)}\n"
            f"the smallest story with this complaint{_comma(self.small_strike)}:\n{story}"
            f"with these answers:\n{answers}"
            f"again: {self.replay}"
        )


def _comma(strike: Strike | None) -> str:
    return "" if strike is None else f", {strike}"


@attrs.define
class Exploration:
    """What an exploration has come to.

    Attributes:
        runs: Seeds that were played.
        seconds: CPU time that it took.
        failures: One for each kind of complaint.
    """

    name: str
    runs: int = 0
    seconds: float = 0.0
    failures: list[Failure] = attrs.field(factory=list[Failure])

    def __str__(self) -> str:
        head = f"{self.name}: {self.runs} seeds in {self.seconds:.1f} s of CPU"
        return "\n".join([f"{head}, {len(self.failures)} failures", *map(str, self.failures)])

    def check(self) -> None:
        """Fail the test if something was wrong, or if nothing was played.

        Raises:
            AssertionError: with the seeds, the small stories and the ways to see them again.
        """
        if self.failures or not self.runs:
            raise AssertionError(str(self))


def explore(
    scenario: Scenario,
    seeds: int = 100,
    *,
    first: int | None = None,
    step: int = 1,
    strike: bool = False,
    place: Place | None = None,
) -> Exploration:
    """Play a story with many seeds.

    Args:
        scenario: The story.
        seeds: How many.
        first: The first seed; by default ``--crush-seed``.
        step: The distance to the next one; so processes can share the seeds.
        strike: Let each seed also choose a disturbance and a step for it to strike at.
        place: Where to play; a directory is made if there is none.
    """
    began = time.process_time()
    found = Exploration(scenario.name)
    known: set[str] = set()
    begin = default_seed() if first is None else first
    with open_place() if place is None else nullcontext(place) as where:
        steps = _steps(scenario, where, 0) if strike else 0
        for seed in range(begin, begin + seeds * step, step):
            found.runs += 1
            struck = _drawn(scenario, seed, steps) if steps else None
            complaints = _play(scenario, where, seed, struck)
            if complaints and kind_of(complaints[0]) not in known:
                known.add(kind_of(complaints[0]))
                small, small_strike = shrink(scenario, where, seed, kind_of(complaints[0]), struck)
                again = _replay(scenario, seed, strike=strike, by_default=first is None)
                found.failures.append(
                    Failure(seed, tuple(complaints), struck, small, small_strike, again)
                )
    found.seconds = time.process_time() - began
    return found


def _steps(scenario: Scenario, place: Place, seed: int) -> int:
    """Return how many steps a story has that nothing strikes."""
    return len(baseline(scenario, place, seed).places)


def _drawn(scenario: Scenario, seed: int, steps: int) -> Strike:
    """Return what a seed lets strike; it is the same whichever seed comes first."""
    source = random.Random(f"strike {seed}")  # noqa: S311  # it must be foreseeable
    return Strike(source.choice(chosen(scenario)), source.randrange(steps))


def _play(scenario: Scenario, place: Place, seed: int, strike: Strike | None) -> list[str]:
    """Play a story once; return what is wrong."""
    if strike is None:
        return play(scenario, place, None, seed)
    disturbance = DISTURBANCES[strike.disturbance]
    return play(scenario, place, Steps(strike_at=strike.at), seed, disturbance=disturbance)


def shrink(
    scenario: Scenario, place: Place, seed: int, kind: str, strike: Strike | None = None
) -> tuple[Scenario, Strike | None]:
    """Return a smaller story that has the same kind of complaint with the same seed.

    What strikes it moves with the steps that are left; it is left out too if nothing needs it.
    """
    tries = TRIES

    def fails(candidate: Scenario, struck: Strike | None) -> bool:
        nonlocal tries
        tries -= 1
        return kind in map(kind_of, _play(candidate, place, seed, struck))

    def smaller_one() -> tuple[Scenario, Strike | None] | None:
        steps = 0 if strike is None else _steps(scenario, place, seed)
        for candidate in smaller(scenario):
            left = 0 if strike is None else _steps(candidate, place, seed)
            for moved in _moved(strike, left - steps, left):
                if tries > 0 and fails(candidate, moved):
                    return candidate, moved
        return None

    if strike is not None and fails(scenario, None):
        strike = None
    while (found := smaller_one()) is not None:
        scenario, strike = found
    return scenario, strike


def _moved(strike: Strike | None, by: int, steps: int) -> Iterator[Strike | None]:
    """Yield where it might strike in a story of ``steps``, ``by`` more, the likeliest place first."""
    if strike is None:
        yield None
        return
    places = [strike.at, *(strike.at + by + near for near in NEAR)]
    for at in dict.fromkeys(places):
        if 0 <= at < steps:
            yield Strike(strike.disturbance, at)


def _replay(scenario: Scenario, seed: int, *, strike: bool, by_default: bool) -> str:
    """Return what plays a seed again: the test that runs now, a command, this program, or a call."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    if test:
        return f"pytest {shlex.quote(test)} --crush-seed={seed}"
    if SCENARIOS.get(scenario.name) is scenario:
        how = " --strike" if strike else ""
        only = shlex.quote(scenario.name)
        return f"python -m crush_trio.testing explore --only {only} --first {seed} --seeds 1{how}"
    if by_default:
        return f"{SEED}={seed} {shlex.join(sys.orig_argv)}"
    how = ", strike=True" if strike else ""
    return f"explore(scenario, seeds=1, first={seed}{how}).check()"
