"""What the checks have found, and what has happened last. Values only."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

RECENT = 200
"""Happenings that a violation is told with."""

KEPT = 1000
"""Violations that are kept; of later ones only the number is."""

K = TypeVar("K")
V = TypeVar("V")


@attrs.frozen
class Violation:
    """A promise that did not hold.

    Attributes:
        promise: Its id.
        text: What is wrong, for people.
        seen: What it was seen on: ids and states, never what anybody wrote (A2).
    """

    promise: str
    text: str
    seen: str = ""

    def __str__(self) -> str:
        return f"{self.promise}: {self.text} ({self.seen})"


class Ledger:
    """The violations so far, and the last happenings.

    Args:
        report: Called with each violation and with what happened before it, oldest first.
    """

    def __init__(self, report: Callable[[Violation, Sequence[str]], None] | None = None) -> None:
        self._report = report
        self._recent: deque[tuple[object, ...]] = deque(maxlen=RECENT)
        self.violations: list[Violation] = []
        self.count = 0
        self.noted = 0

    def note(self, *happening: object) -> None:
        """Remember a happening: words and ids, made to a text only when somebody asks."""
        self.noted += 1
        self._recent.append(happening)

    def recent(self) -> list[str]:
        """Return the last happenings as texts, oldest first."""
        first = self.noted - len(self._recent) + 1
        return [
            f"{number} {' '.join(map(str, happening))}"
            for number, happening in enumerate(self._recent, first)
        ]

    def violated(self, promise: str, text: str, *seen: object) -> None:
        """Take note that a promise did not hold."""
        violation = Violation(promise, text, " ".join(map(str, seen)))
        self.count += 1
        if len(self.violations) < KEPT:
            self.violations.append(violation)
        if self._report is not None:
            self._report(violation, self.recent())


class Bounded(OrderedDict[K, V]):
    """A dictionary that forgets what was set first when it grows beyond ``limit`` entries."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._limit:
            self.popitem(last=False)
