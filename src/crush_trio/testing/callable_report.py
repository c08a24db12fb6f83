"""What a sweep of a callable found, and how it is said."""

from __future__ import annotations

import attrs


@attrs.frozen
class Finding:
    """What was wrong after one run.

    Attributes:
        point: The step at which it was cancelled; 0 for the run that was not.
        place: Where the callable stood.
        what: What was wrong.
    """

    point: int
    place: str
    what: str

    def __str__(self) -> str:
        if not self.point:
            return f"without any cancel: {self.what}"
        return f"cancelled at step {self.point}, {self.place}: {self.what}"


@attrs.frozen
class CallableReport:
    """What a sweep found.

    Attributes:
        name: Of the callable.
        seed: Of every run.
        points: How many steps the callable has.
        strikes: How many runs were cancelled.
        faults: What was wrong.
        simulated: Whether time was virtual.
    """

    name: str
    seed: int
    points: int
    strikes: int
    faults: tuple[Finding, ...]
    simulated: bool = True

    def __str__(self) -> str:
        head = f"{self.name}: {self.points} steps, {self.strikes} cancels, seed {self.seed}"
        if not self.faults:
            return f"{head}: clean"
        again = f"{self._replay(self.faults[0].point)} plays the first again"
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return "\n  ".join([f"{head}: {count}", *map(str, self.faults), again])

    def _replay(self, point: int) -> str:
        """Return the call that plays one step again; the run without a cancel is always played."""
        real = "" if self.simulated else ", simulated=False"
        points = f"[{point}]" if point else "[]"
        return f"sweep_callable({self.name}, seed={self.seed}{real}, points={points})"

    def check(self) -> None:
        """Fail the test if something was wrong, or if nothing was cancelled.

        Raises:
            AssertionError: with every fault and the way to see it again.
        """
        __tracebackhide__ = True  # pytest shows where it was called
        if self.faults or not self.strikes:
            raise AssertionError(str(self) if self.faults else f"{self}: nothing was cancelled")
