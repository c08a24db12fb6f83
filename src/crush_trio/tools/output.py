"""The texts that are made of a command's output (agent contract 2.4, verbatim rules).

Pure. Above it are the tools that show output to a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from crush_trio.tools.capture import Captured

MAX_COLUMNS = 30_000
"""Columns of output that a model is shown of one stream (agent contract 2.4)."""

NO_OUTPUT = "no output"
"""Content of a silent command's result; clients recognise it (agent contract 2.1)."""

ABORTED = "Command was aborted before completion"
"""What is said of a command that was ended before its own end (agent contract 2.4)."""


def shorten(captured: Captured) -> str:
    """Return output with its middle left out if it is longer than :data:`MAX_COLUMNS`."""
    head, tail = captured.head, captured.tail
    if captured.lost_lines is None:
        if len(_fit(head, MAX_COLUMNS)) == len(head):
            return head
        tail = head
    first = _fit(head, MAX_COLUMNS // 2)
    last = _fit(reversed(tail), MAX_COLUMNS // 2)[::-1]
    if captured.lost_lines is None:
        lines = head.count("\n", len(first), len(head) - len(last))
    else:
        lines = head.count("\n", len(first)) + captured.lost_lines
        lines += tail.count("\n", 0, len(tail) - len(last))
    return f"{first}\n\n... [{lines + 1} lines truncated] ...\n\n{last}"


def _fit(characters: Iterable[str], columns: int) -> str:
    """Return as many characters from the beginning as fit into so many columns."""
    from rich.cells import get_character_cell_size  # noqa: PLC0415 - rich costs start-up time

    left = columns

    def fits(character: str) -> bool:
        nonlocal left
        left -= get_character_cell_size(character)
        return left >= 0

    return "".join(takewhile(fits, characters))


def compose(stdout: str, stderr: str, *, status: int | None) -> str:
    """Put the output and the end of a command together; ``status`` None means that it was ended."""
    if stdout and stderr:
        stdout += "\n"
    trouble = stderr
    if status is None:
        trouble += f"\n{ABORTED}"
    elif status != 0:
        trouble += ("\n" if trouble else "") + f"Exit code {status}"
    return f"{stdout}\n{trouble}" if trouble else stdout


def with_place(output: str, working_dir: str) -> str:
    """Return a result's content: the output and where it was made."""
    return f"{output}\n\n<cwd>{working_dir}</cwd>" if output else NO_OUTPUT
