"""What a sweep has come to."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from crush_trio.testing.phases import PHASES

_NUMBERS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+|\b\d+\b")
"""What differs between two violations of one kind: ids, addresses, numbers."""


def kind_of(complaint: str) -> str:
    """Return a complaint without what makes it another one at another step."""
    return _NUMBERS.sub("#", complaint)


class Violation(msgspec.Struct, frozen=True):
    """A promise that did not hold, and how to see it again."""

    scenario: str
    disturbance: str
    point: int
    seed: int
    complaint: str

    def __str__(self) -> str:
        where = f"struck by {self.disturbance!r} at step {self.point}"
        how = where if self.disturbance else "that nothing struck"
        return f"{self.scenario!r}, {how}, seed {self.seed}: {self.complaint}"

    @property
    def replay(self) -> str:
        """The call that plays it again; the run that nothing strikes is always played."""
        strike = f"[{self.disturbance!r}]" if self.disturbance else "[]"
        points = f"[{self.point}]" if self.disturbance else "[]"
        return f"sweep(scenario, {strike}, seed={self.seed}, points={points})"


class Report(msgspec.Struct):
    """The figures of one or more sweeps.

    Attributes:
        points: The numbered steps of each scenario.
        strikes: How many runs were struck, by disturbance.
        by_phase: How many strikes fell into each phase; one may fall into several.
        runs: Everything that was played, the first runs too.
        spared: Steps at which a disturbance would have changed nothing, which were not played again.
        seconds: CPU time that it took.
    """

    points: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    strikes: dict[str, int] = msgspec.field(default_factory=dict[str, int])
    by_phase: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(PHASES, 0))
    runs: int = 0
    spared: int = 0
    seconds: float = 0.0
    violations: list[Violation] = msgspec.field(default_factory=list[Violation])

    def begin(self, scenario: str, points: int, complaints: Sequence[str], seed: int) -> None:
        """Count a first run."""
        self.runs += 1
        self.points[scenario] = points
        self.violations += [Violation(scenario, "", 0, seed, each) for each in complaints]

    def count(self, disturbance: str, phases: frozenset[str]) -> None:
        """Count a strike."""
        self.runs += 1
        self.strikes[disturbance] = self.strikes.get(disturbance, 0) + 1
        for phase in phases:
            self.by_phase[phase] += 1

    def add(self, other: Report) -> None:
        """Take the figures of another sweep as well."""
        self.points |= other.points
        self.strikes = _sums(self.strikes, other.strikes)
        self.by_phase = _sums(self.by_phase, other.by_phase)
        self.runs += other.runs
        self.spared += other.spared
        self.seconds += other.seconds
        self.violations += other.violations

    def __str__(self) -> str:
        phases = ", ".join(f"{name} {count}" for name, count in self.by_phase.items())
        strikes = ", ".join(f"{name} {count}" for name, count in self.strikes.items())
        lines = [
            f"{len(self.points)} scenarios, {sum(self.points.values())} points",
            f"{self.runs} runs in {self.seconds:.0f} s of CPU, {len(self.violations)} violations",
            f"strikes: {strikes}",
            f"phases: {phases}",
            f"spared: {self.spared} strikes that would have changed nothing",
        ]
        again = [f"{each.replay} plays the first again" for each in self.violations[:1]]
        return "\n".join([*lines, *self._kinds(), *again])

    def check(self) -> None:
        """Fail the test if something was wrong, or if nothing was struck.

        Raises:
            AssertionError: with the figures, each kind of violation, and the way to see the first.
        """
        __tracebackhide__ = True  # pytest shows where it was called
        if self.violations or not self.strikes:
            raise AssertionError(str(self) if self.violations else f"nothing was struck: {self}")

    def _kinds(self) -> list[str]:
        """Return one line for each kind of violation, with its first place."""
        kinds: dict[tuple[str, str, str], list[Violation]] = {}
        for each in self.violations:
            what = (each.scenario, each.disturbance, kind_of(each.complaint))
            kinds.setdefault(what, []).append(each)
        return [f"{_times(len(found))}: {found[0]}" for found in kinds.values()]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _sums(mine: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    """Return the sum of counts by name; none is left out because it is 0."""
    return {name: mine.get(name, 0) + theirs.get(name, 0) for name in {**mine, **theirs}}
