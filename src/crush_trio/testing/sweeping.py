"""The sweep: a story played again and again, and each time something strikes at another step.

The story is played once, and every scheduling step of the program's own tasks gets a number. Then
it is played once for each number, with the same seed, and the disturbance strikes before that very
step. Afterwards every promise must hold, and all that happened before the strike must be what
happened in the first run.

Synopsis::

    sweep(scenario).check()
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import attrs

from crush_trio.errors import sole
from crush_trio.testing.aftermath import (
    Allowed,
    check_closed,
    check_kept,
    come_to_rest,
    kill_expectations,
    look,
)
from crush_trio.testing.core import Core
from crush_trio.testing.disturbances import DISTURBANCES, Disturbance, strike
from crush_trio.testing.phases import phases
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.report import Report, Violation
from crush_trio.testing.running import default_seed, run
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.steps import Steps

FAULTS = frozenset({"a write fails", "a write is slow"})
"""Disturbances of the disk: a run may fail of them, and say so (C2)."""


@attrs.define(eq=False)
class Baseline:
    """A story as it goes when nothing strikes it.

    Attributes:
        trace: The names of the tasks that ran, in order.
        places: For each numbered step, where it is in the trace.
        phases: For each numbered step, where runs stood.
        applying: For each numbered step, the disturbances that would change something.
        complaints: What is wrong already.
    """

    trace: list[str]
    places: list[int]
    phases: list[frozenset[str]]
    applying: list[frozenset[str]]
    complaints: list[str]


def play(
    scenario: Scenario,
    place: Place,
    steps: Steps | None,
    seed: int,
    *,
    disturbance: Disturbance | None = None,
    opened: Callable[[Core], None] = lambda _: None,
) -> list[str]:
    """Play a story once in a world of its own; return what is wrong afterwards.

    Args:
        scenario: The story.
        place: Its directories.
        steps: Counts; is switched on when the world is open, and off when the story is over. None
            for a run that nobody counts, which is quicker.
        seed: Of the run.
        disturbance: What strikes where ``steps`` say.
        opened: Given the world before the story begins.
    """
    complaints: list[str] = []
    expected: list[tuple[str, str]] = []
    instruments = () if steps is None else (steps,)
    steps = steps or Steps()

    async def story() -> None:
        async with scenario.open(place) as core:
            core.complaints = complaints
            opened(core)
            if disturbance is not None:
                if disturbance.name == "kill":
                    steps.strike = partial(_kill, core, disturbance, expected)
                else:
                    steps.strike = partial(strike, core, disturbance)
            steps.on = True
            await scenario.play(core)
            steps.on = False
            faulty = core.disk_has_failed or (
                disturbance is not None and disturbance.name in FAULTS
            )
            await come_to_rest(core)
            await check_kept(core, expected)
            await look(core, Allowed(faulty, scenario.may_fail))
            await core.stop()
            check_closed(core)

    is_fault = disturbance is not None and disturbance.name in FAULTS
    with _logged_errors(complaints, scenario.may_log + (DISK_ERRORS if is_fault else ())):
        try:
            run(story, seed=seed, instruments=instruments)
        except Exception as error:  # noqa: BLE001 -- a broken world is a finding like any other
            complaints.append(f"the world broke: {sole(error)!r}")
    return complaints


def _kill(core: Core, disturbance: Disturbance, expected: list[tuple[str, str]]) -> None:
    expected.extend(kill_expectations(core))
    strike(core, disturbance)


def baseline(scenario: Scenario, place: Place, seed: int) -> Baseline:
    """Play a story once, and note what every step is like."""
    found = Baseline([], [], [], [], [])
    steps = Steps(trace=found.trace, places=found.places)

    def opened(core: Core) -> None:
        def watch() -> None:
            found.phases.append(phases(core))
            applying = (each.name for each in DISTURBANCES.values() if each.applies(core))
            found.applying.append(frozenset(applying))

        steps.watch = watch

    found.complaints = play(scenario, place, steps, seed, opened=opened)
    return found


def sweep(
    scenario: Scenario,
    disturb: Iterable[str] | None = None,
    *,
    seed: int | None = None,
    sample: int | None = None,
    points: Collection[int] | None = None,
    share: tuple[int, int] = (0, 1),
    place: Place | None = None,
) -> Report:
    """Strike a story with each disturbance, at each of its steps.

    Args:
        scenario: The story.
        disturb: The names of disturbances; by default all that apply to the scenario.
        seed: Of all its runs; by default ``--crush-seed``.
        sample: How many steps each disturbance strikes at, evenly spread; all if None.
        points: The numbers of the steps to strike at; all if None.
        share: Play the part k of n of these strikes; n processes play all of them.
        place: Where to play; a directory is made if there is none.
    """
    began = time.process_time()
    report = Report()
    seed = default_seed() if seed is None else seed
    with open_place() if place is None else nullcontext(place) as found:
        first = baseline(scenario, found, seed)
        report.begin(scenario.name, len(first.places), first.complaints, seed)
        for name in chosen(scenario, disturb):
            applying = [at for at, names in enumerate(first.applying) if name in names]
            report.spared += (len(first.applying) - len(applying)) * (share[0] == 0)
            wanted = [at for at in applying if points is None or at in points]
            for at in spread(wanted, sample)[share[0] :: share[1]]:
                complaints = strike_at(scenario, found, first, DISTURBANCES[name], at, seed)
                report.count(name, first.phases[at])
                report.violations += [
                    Violation(scenario.name, name, at, seed, complaint) for complaint in complaints
                ]
    report.seconds = time.process_time() - began
    return report


def chosen(scenario: Scenario, disturb: Iterable[str] | None = None) -> list[str]:
    """Return the names of the disturbances that a sweep of a scenario strikes with."""
    wanted = DISTURBANCES.keys() if disturb is None else set(disturb)
    if unknown := wanted - DISTURBANCES.keys():
        raise ValueError(f"unknown disturbances: {sorted(unknown)}")
    applying = scenario.disturbances
    return [name for name in DISTURBANCES if name in wanted and (not applying or name in applying)]


def strike_at(
    scenario: Scenario, place: Place, first: Baseline, disturbance: Disturbance, at: int, seed: int
) -> list[str]:
    """Play a story once more and strike before one numbered step; return what is wrong."""
    steps = Steps(strike_at=at)
    complaints = play(scenario, place, steps, seed, disturbance=disturbance)
    if not steps.struck:
        complaints.append(f"there was no step {at} to strike at")
    if steps.trace != first.trace[: first.places[at]]:
        complaints.append("what came before the strike is not what came in the first run")
    return complaints


def spread(points: Sequence[int], sample: int | None) -> list[int]:
    """Return ``sample`` of the points, each from the middle of its part; all if there are not more."""
    if sample is None or len(points) <= sample:
        return list(points)
    return [points[(2 * number + 1) * len(points) // (2 * sample)] for number in range(sample)]


class _Errors(logging.Handler):
    """Takes what the program logs as an error, without formatting it."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's message."""
        raised = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
        self._complaints.append(f"logged: {record.getMessage()}{raised}")


DISK_ERRORS = ("writes to the simulated disk failed", "could not be stored", "cannot open")
"""What is logged as an error where a disk fails, as it must be."""


@contextmanager
def _logged_errors(complaints: list[str], allowed: Sequence[str]) -> Generator[None]:
    """Count the errors that the program logs as complaints, and keep its log quiet."""
    logger = logging.getLogger("crush_trio")
    kept = logger.handlers[:], logger.propagate, logger.level
    logged: list[str] = []
    logger.handlers, logger.propagate = [_Errors(logged)], False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.handlers, logger.propagate, level = kept
        logger.setLevel(level)
    complaints += [each for each in logged if not any(known in each for known in allowed)]
