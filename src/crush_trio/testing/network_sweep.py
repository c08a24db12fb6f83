"""The sweep over the network: a story of two clients, struck at the steps of the server's own code.

One client is *weak*: its connections are what strikes, at a chosen step of the program, by a sync
call. The other one is never touched, hears everything, and asks at the end what became of every
prompt. Whatever happens to connections, no run may know of it (R2). Synopsis::

    report = sweep_network(STORIES["a prompt"], sample=20)
    assert not report.violations, report
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import attrs
import trio

from crush_trio.errors import sole
from crush_trio.testing.network_story import Story, Told, check, look, play
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.program import is_program
from crush_trio.testing.running import run
from crush_trio.testing.steps import Steps
from crush_trio.testing.strikes import STRIKES
from crush_trio.testing.world import World, open_world

LAYERS = ("server", "hub", "runs", "workspaces")
"""The parts of the program whose steps are struck at."""

PATIENCE = 2_000.0
"""Virtual seconds after which a story hangs."""


@attrs.frozen
class Violation:
    """A promise that did not hold, and how to see it again."""

    story: str
    strike: str
    point: int
    seed: int
    http2: bool
    complaint: str


@attrs.define
class NetworkReport:
    """The figures of a sweep.

    Attributes:
        points: Steps of :data:`LAYERS`, by the layer.
        strikes: How many runs were struck, by what.
        runs: All that were played.
        seconds: CPU time.
    """

    points: dict[str, int] = attrs.field(factory=dict[str, int])
    strikes: dict[str, int] = attrs.field(factory=dict[str, int])
    runs: int = 0
    seconds: float = 0.0
    violations: list[Violation] = attrs.field(factory=list[Violation])

    def add(self, other: NetworkReport) -> None:
        """Take the figures of another sweep as well."""
        for mine, theirs in ((self.points, other.points), (self.strikes, other.strikes)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self.runs += other.runs
        self.seconds += other.seconds
        self.violations += other.violations

    def __str__(self) -> str:
        lines = [
            f"points: {self.points}",
            f"strikes: {self.strikes}",
            f"{self.runs} runs in {self.seconds:.0f} s of CPU, {len(self.violations)} violations",
        ]
        return "\n".join([*lines, *(str(each) for each in self.violations[:20])])


@attrs.define(eq=False)
class _Located(Steps):
    """Steps that know in which layer of the program each of them is."""

    layers: list[str] = attrs.field(factory=list[str])

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Number a step."""
        if self.on and self.watch is not None and is_program(task):
            self.layers.append(_layer(task))
        super().before_task_step(task)


def _layer(task: trio.lowlevel.Task) -> str:
    """Return the layer of the innermost frame of ours that a task is about to go on in."""
    found = ""
    for frame, _ in task.iter_await_frames():
        package, _, rest = frame.f_globals.get("__name__", "").partition(".")
        if package == "crush_trio":
            found = rest.partition(".")[0]
    return found


def sweep_network(
    story: Story,
    strikes: Iterable[str] | None = None,
    *,
    seed: int = 0,
    http2: bool = False,
    sample: int | None = None,
    place: Place | None = None,
) -> NetworkReport:
    """Strike a story with each disturbance of its connections, at steps of the server's code.

    Args:
        story: What happens.
        strikes: Names from :data:`~crush_trio.testing.strikes.STRIKES`; all if None.
        seed: Of all its runs.
        http2: Which HTTP the clients speak.
        sample: How many steps each strikes at, evenly spread; all if None.
        place: Where to play; a directory is made if there is none.
    """
    began = time.process_time()
    report = NetworkReport()
    with open_place() if place is None else nullcontext(place) as found:
        first = _Located(watch=lambda: None)
        told, complaints = _play(story, found, first, seed, http2=http2)
        report.runs += 1
        if len(told.results) != len(story.prompts):
            complaints.append(f"only {sorted(told.results)} were answered, and nothing struck")
        complain = partial(_complain, report, story.name, seed, http2)
        complain("", 0, complaints)
        points = [at for at, layer in enumerate(first.layers) if layer in LAYERS]
        for layer in LAYERS:
            report.points[layer] = first.layers.count(layer)
        for name in STRIKES if strikes is None else strikes:
            for at in _spread(points, sample):
                steps = _Located(strike_at=at)
                struck, complaints = _play(story, found, steps, seed, http2=http2, strike=name)
                if not steps.struck:
                    complaints.append("there was no such step")
                if steps.trace != first.trace[: first.places[at]]:
                    complaints.append("what came before the strike is not what came first")
                complaints += check(story, name, told, struck)
                report.runs += 1
                report.strikes[name] = report.strikes.get(name, 0) + 1
                complain(name, at, complaints)
    report.seconds = time.process_time() - began
    return report


def _complain(
    report: NetworkReport,
    story: str,
    seed: int,
    http2: bool,
    strike: str,
    at: int,
    complaints: Sequence[str],
) -> None:
    report.violations += [Violation(story, strike, at, seed, http2, each) for each in complaints]


def _play(
    story: Story, place: Place, steps: Steps, seed: int, *, http2: bool, strike: str = ""
) -> tuple[Told, list[str]]:
    """Play a story once; return what was told, and what is wrong already."""
    told, complaints = Told(), list[str]()

    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with open_world(
                story.model(), commands=story.commands, place=place, http2=http2
            ) as world:
                steps.strike = partial(_strike, world, strike)
                steps.on = True
                session_id = await play(world, story, told)
                steps.on = False
                if session_id:
                    await look(world, session_id, told)

    with _logged(complaints):
        try:
            run(main, seed=seed, instruments=[steps])
        except Exception as error:  # noqa: BLE001 -- a broken world is a finding like any other
            complaints.append(f"the world broke: {sole(error)!r}")
    return told, complaints


def _strike(world: World, name: str) -> None:
    STRIKES[name](world)


def _spread(points: Sequence[int], sample: int | None) -> Sequence[int]:
    if sample is None or len(points) <= sample:
        return points
    return [points[number * len(points) // sample] for number in range(sample)]


class _Errors(logging.Handler):
    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        raised = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
        self._take(f"logged: {record.getMessage()}{raised}")


@contextmanager
def _logged(complaints: list[str]) -> Generator[None]:
    """Take the errors that the program logs as complaints, and keep its log quiet."""
    logger = logging.getLogger("crush_trio")
    handlers, propagate = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [_Errors(complaints.append)], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
