"""Unified diffs, in the form that clients draw (agent contract 2.7). Pure."""

from __future__ import annotations

import difflib
import re

import attrs


@attrs.frozen
class Diff:
    """What changed between two texts; ``text`` is empty when nothing did."""

    text: str
    additions: int
    removals: int


def unified_diff(old: str, new: str, *, name: str) -> Diff:
    """Return the difference of two texts; ``name`` is what both are called in it.

    Costs grow with the square of the changed lines: give large texts to a thread.
    """
    lines = list(difflib.unified_diff(_lines(old), _lines(new), f"a/{name}", f"b/{name}"))
    body = lines[2:]  # after the two names
    additions = sum(line.startswith("+") for line in body)
    removals = sum(line.startswith("-") for line in body)
    return Diff("".join(map(_ended, lines)), additions, removals)


def count_changes(old: str, new: str) -> tuple[int, int]:
    """Return how many lines come and how many go; costs as for :func:`unified_diff`.

    What is alike at both ends is not compared again, so that a small edit of a large text is cheap.
    """
    before, after = _lines(old), _lines(new)
    shorter = min(len(before), len(after))
    start = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    room = shorter - start
    end = next((n for n in range(room) if before[-1 - n] != after[-1 - n]), room)
    before, after = before[start : len(before) - end], after[start : len(after) - end]
    matcher = difflib.SequenceMatcher(None, before, after)
    kept = sum(block.size for block in matcher.get_matching_blocks())
    return len(after) - kept, len(before) - kept


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(text: str) -> list[str]:
    """Split at line feeds only, which are kept; ``str.splitlines`` knows eight more line ends."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
