"""What helps a model to find the text that it meant (agent contract 2.8). Pure."""

from __future__ import annotations

from collections import Counter, defaultdict

ENOUGH = 0.5
"""Part of the lines that must be alike for a place to be worth showing (agent contract 2.8)."""

MOST_PAIRS = 500_000
"""Pairs of equal lines beyond which no closest place is looked for: that would take too long."""


def closest_lines(text: str, old: str) -> str:
    """Return a remark that shows the lines most like ``old``, or nothing if none are."""
    lines = text.split("\n")
    wanted = [line.strip() for line in old.strip("\n").split("\n")]
    first, alike = _closest([line.strip() for line in lines], wanted)
    if alike < max(ENOUGH * len(wanted), 1):
        return ""
    last = first + min(len(wanted), len(lines))
    return (
        f".\nThe closest text is in lines {first + 1}-{last} "
        f"({alike}/{len(wanted)} lines match):\n"
        + show_spaces(lines, max(first - 1, 0), min(last + 1, len(lines)))
    )


def _closest(lines: list[str], wanted: list[str]) -> tuple[int, int]:
    """Return where the first window with the most equal lines begins, and how many these are.

    Each line that is wanted speaks for the window in which it would be at its place. Blank ones
    say nothing.
    """
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, line in enumerate(wanted):
        if line:
            places[line].append(place)
    votes: Counter[int] = Counter()
    last, pairs = max(len(lines) - len(wanted), 0), 0
    for number, line in enumerate(lines):
        found = places.get(line, ())
        votes.update(first for place in found if 0 <= (first := number - place) <= last)
        pairs += len(found)
        if pairs > MOST_PAIRS:
            return 0, 0
    return max(votes.items(), key=lambda vote: (vote[1], -vote[0]), default=(0, 0))


def show_spaces(lines: list[str], first: int, last: int) -> str:
    """Return numbered lines with tabs as arrows and leading blanks as dots."""
    return "\n".join(
        f"{number + 1:6}|{_visible(line)}" for number, line in enumerate(lines[first:last], first)
    )


def _visible(line: str) -> str:
    text = line.lstrip(" \t")
    indent = line[: len(line) - len(text)].replace(" ", "·")
    return (indent + text).replace("\t", "→")
