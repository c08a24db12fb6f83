"""Schedules: a story played with many seeds, each of which is another order of all that happens.

Synopsis::

    explore(scenario, seeds=1000).check()

What fails is made small before it is shown: operations are left out and delays shortened for as
long as the same complaint comes. The report says how to play it again.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import nullcontext

import attrs

from crush_trio.testing.disturbances import DISTURBANCES
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.report import kind_of
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.shrinking import smaller
from crush_trio.testing.steps import Steps
from crush_trio.testing.sweeping import baseline, chosen, play

TRIES = 300
"""Runs that making a failure small may take."""


@attrs.frozen
class Failure:
    """A seed that breaks a promise.

    Attributes:
        seed: The one.
        complaints: What was wrong, in the story as it was.
        small: The smallest story found that has the same complaint with this seed.
        replay: A line for the shell that plays it again.
    """

    seed: int
    complaints: tuple[str, ...]
    small: Scenario
    replay: str

    def __str__(self) -> str:
        story = "".join(f"    {operation},\n" for operation in self.small.story)
        answers = "".join(f"    {text!r}: {said},\n" for text, said in self.small.answers.items())
        return (
            f"seed {self.seed}: {'; '.join(self.complaints)}\n"
            f"the smallest story with this complaint:\n{story}"
            f"with these answers:\n{answers}"
            f"again: {self.replay}"
        )


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
    first: int = 0,
    step: int = 1,
    strike: bool = False,
    place: Place | None = None,
) -> Exploration:
    """Play a story with many seeds.

    Args:
        scenario: The story.
        seeds: How many.
        first: The first seed.
        step: The distance to the next one; so processes can share the seeds.
        strike: Let each seed also choose a disturbance and a step for it to strike at.
        place: Where to play; a directory is made if there is none.
    """
    began = time.process_time()
    found = Exploration(scenario.name)
    known: set[str] = set()
    with open_place() if place is None else nullcontext(place) as where:
        points = len(baseline(scenario, where, first).places) if strike else 0
        for seed in range(first, first + seeds * step, step):
            found.runs += 1
            complaints = _play(scenario, where, seed, points)
            if complaints and kind_of(complaints[0]) not in known:
                known.add(kind_of(complaints[0]))
                small = shrink(scenario, where, seed, kind_of(complaints[0]), points)
                found.failures.append(
                    Failure(seed, tuple(complaints), small, _replay(scenario, seed, strike=strike))
                )
    found.seconds = time.process_time() - began
    return found


def _play(scenario: Scenario, place: Place, seed: int, points: int) -> list[str]:
    """Play a story once; with ``points``, the seed chooses what strikes and where."""
    if not points:
        return play(scenario, place, None, seed)
    source = random.Random(f"strike {seed}")  # noqa: S311  # it must be foreseeable
    disturbance = DISTURBANCES[source.choice(chosen(scenario))]
    steps = Steps(strike_at=source.randrange(points))
    return play(scenario, place, steps, seed, disturbance=disturbance)


def shrink(scenario: Scenario, place: Place, seed: int, kind: str, points: int = 0) -> Scenario:
    """Return a smaller story that has the same kind of complaint with the same seed."""
    tries = TRIES
    while tries > 0:
        for candidate in smaller(scenario):
            tries -= 1
            complaints = _play(candidate, place, seed, points)
            if kind in map(kind_of, complaints):
                scenario = candidate
                break
            if tries <= 0:
                return scenario
        else:
            return scenario
    return scenario


def _replay(scenario: Scenario, seed: int, *, strike: bool) -> str:
    """Return the line that plays a seed again: as the test that runs now, or from the shell."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    if test:
        return f"pytest '{test}' --crush-seed={seed}"
    how = " --strike" if strike else ""
    return f"python -m crush_trio.testing explore --only {scenario.name!r} --first {seed} --seeds 1{how}"
