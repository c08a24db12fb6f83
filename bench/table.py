"""Rows: what was measured, beside the aim and the reference's figure."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path

import attrs

_SCALES = {"ms": 1e3, "s": 1.0, "MB": 1e-6, "kB": 1e-3, "%": 100.0, "": 1.0}


@attrs.define
class Row:
    """One figure.

    Attributes:
        name: What was done.
        unit: In which it is shown; samples are seconds or bytes.
        aim: In that unit; a sample above it misses. None where no aim is set.
        reference: What the best reference needed, on another day.
        at_least: Whether the aim is a lower bound.
    """

    name: str
    unit: str
    aim: float | None = None
    reference: str = ""
    at_least: bool = False
    ours: list[float] = attrs.field(factory=list[float])
    bare: list[float] = attrs.field(factory=list[float])

    def add(self, kind: str, sample: float) -> None:
        (self.ours if kind == "ours" else self.bare).append(sample * _SCALES[self.unit])

    @property
    def verdict(self) -> str:
        if self.aim is None or not self.ours:
            return ""
        median = statistics.median(self.ours)
        good = median >= self.aim if self.at_least else median <= self.aim
        return "met" if good else "MISSED"

    def cells(self) -> tuple[str, ...]:
        aim = "" if self.aim is None else f"{self.aim:g} {self.unit}"
        return (
            self.name,
            _shown(self.ours, self.unit),
            _shown(self.bare, self.unit),
            aim,
            self.reference,
            self.verdict,
        )


HEAD = ("work", "ours", "bare", "aim", "reference", "")


def _shown(samples: list[float], unit: str) -> str:
    """Return the median, and the extremes in brackets."""
    if not samples:
        return ""
    median = _number(statistics.median(samples))
    if len(samples) == 1:
        return f"{median} {unit}".strip()
    return f"{median} ({_number(min(samples))}-{_number(max(samples))}) {unit}".strip()


def _number(value: float) -> str:
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


def markdown(rows: Iterable[Row]) -> str:
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(HEAD))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write_json(path: Path, rows: Iterable[Row]) -> None:
    path.write_text(json.dumps([attrs.asdict(row) for row in rows], indent=1), encoding="utf-8")
