"""What helps a model to find the text that it meant (agent contract 2.8). Pure."""

from __future__ import annotations

import attrs

ENOUGH = 0.5
"""Part of the lines that must be alike for a place to be worth showing (agent contract 2.8)."""

MOST_COMPARISONS = 2_000_000
"""Lines times lines beyond which no closest place is looked for: that would take seconds."""


@attrs.frozen
class _Window:
    first: int
    alike: int


def closest_lines(text: str, old: str) -> str:
    """Return a remark that shows the lines most like ``old``, or nothing if none are."""
    lines = text.split("\n")
    wanted = [line.strip() for line in old.strip("\n").split("\n")]
    if len(lines) * len(wanted) > MOST_COMPARISONS:
        return ""
    best = _closest([line.strip() for line in lines], wanted)
    if best is None:
        return ""
    size = min(len(wanted), len(lines))
    first, last = best.first, best.first + size
    return (
        f".\nThe closest text is in lines {first + 1}-{last} "
        f"({best.alike}/{len(wanted)} lines match):\n"
        + show_spaces(lines, max(first - 1, 0), min(last + 1, len(lines)))
    )


def _closest(lines: list[str], wanted: list[str]) -> _Window | None:
    """Return the window with the most equal lines that are not blank, if they are enough."""
    need = max(ENOUGH * len(wanted), 1)
    best: _Window | None = None
    for first in range(max(len(lines) - len(wanted), 0) + 1):
        window = lines[first : first + len(wanted)]
        alike = sum(a == b and bool(a) for a, b in zip(window, wanted, strict=False))
        if alike >= need and (best is None or alike > best.alike):
            best = _Window(first, alike)
    return best


def show_spaces(lines: list[str], first: int, last: int) -> str:
    """Return numbered lines with tabs as arrows and leading blanks as dots."""
    return "\n".join(
        f"{number + 1:6}|{_visible(line)}" for number, line in enumerate(lines[first:last], first)
    )


def _visible(line: str) -> str:
    text = line.lstrip(" \t")
    indent = line[: len(line) - len(text)].replace(" ", "·")
    return (indent + text).replace("\t", "→")
