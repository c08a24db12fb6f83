"""Texts whose lines end in two ways, edited as if they ended in one (agent contract 2.3). Pure.

Models see and write line feeds. A file with carriage returns is edited in that form; the lines
that an edit does not touch keep the ends that they have.
"""

from __future__ import annotations

from bisect import bisect_left

from crush_trio.tools.edits import Edit, Found, Splice, find


def shown(raw: str) -> str:
    """Return a file's text with line feeds only."""
    return raw.replace("\r\n", "\n")


def apply_edit(raw: str, edit: Edit) -> tuple[str, bool]:
    """Return a file's text after an edit, and whether the place was found only loosely.

    Raises:
        EditError: the edit does not apply.
    """
    if "\r\n" not in raw:
        found = find(raw, edit)
        return found.apply(raw), found.loosely
    found = find(shown(raw), Edit(shown(edit.old), shown(edit.new), edit.everywhere))
    moved = _moved(raw, found)
    return moved.apply(raw), found.loosely


def _moved(raw: str, found: Found) -> Found:
    """Return the same places in the text as it is on disk; new lines end as most others do."""
    returns = _returns(raw)
    mostly = 2 * len(returns) > raw.count("\n")

    def place(at: int) -> int:
        return at + bisect_left(returns, at)

    return Found(
        tuple(
            Splice(
                place(one.start), place(one.end), one.new.replace("\n", "\r\n" if mostly else "\n")
            )
            for one in found.splices
        )
    )


def _returns(raw: str) -> list[int]:
    """Return where carriage returns were left out, as positions in the shown text."""
    found: list[int] = []
    at = raw.find("\r\n")
    while at >= 0:
        found.append(at - len(found))
        at = raw.find("\r\n", at + 2)
    return found
