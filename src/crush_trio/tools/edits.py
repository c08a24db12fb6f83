"""Replacing text in text, as the tools ``edit`` and ``multiedit`` mean it (agent contract 2.8). Pure.

Texts here end their lines with line feeds; :mod:`crush_trio.tools.line_ends` knows the others. An
exact match counts first. If there is none, whole lines are compared with their white space
collapsed, and the new text is indented as the place where it goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

from crush_trio.errors import BadRequestError
from crush_trio.tools.hints import closest_lines, show_spaces

NOT_FOUND = (
    "old_string not found in file. Make sure it matches exactly, including whitespace and line "
    "breaks"
)
"""The beginning of what a model is told of text that is not there (recorded from Crush)."""

_INDENT = re.compile(r"[ \t]*")


class EditError(BadRequestError):
    """An edit cannot be applied; the message tells the model what to change."""


@attrs.frozen
class Edit:
    """One replacement; ``everywhere`` replaces all places, otherwise there must be only one."""

    old: str
    new: str
    everywhere: bool = False


@attrs.frozen
class Splice:
    """The text from ``start`` to ``end``, in characters, becomes ``new``."""

    start: int
    end: int
    new: str


@attrs.frozen
class Found:
    """The places of an edit, in order; ``loosely`` if only white space was different there."""

    splices: tuple[Splice, ...]
    loosely: bool = False

    def apply(self, text: str) -> str:
        """Return the text with the places replaced."""
        pieces: list[str] = []
        position = 0
        for splice in self.splices:
            pieces += (text[position : splice.start], splice.new)
            position = splice.end
        return "".join((*pieces, text[position:]))


def find(text: str, edit: Edit) -> Found:
    """Return where an edit of a text applies, and what goes there.

    Raises:
        EditError: nowhere, or at several places when one was meant.
    """
    exact = tuple(Splice(at, at + len(edit.old), edit.new) for at in _places(text, edit.old))
    if exact:
        if len(exact) > 1 and not edit.everywhere:
            raise EditError(
                f"old_string appears {len(exact)} times in the file; give more of the text around "
                "it so that it is found once, or set replace_all to true"
            )
        return Found(exact)
    blocks = _blocks(text, edit.old)
    if not blocks:
        raise EditError(NOT_FOUND + closest_lines(text, edit.old))
    if len(blocks) > 1 and not edit.everywhere:
        raise EditError(
            f"{NOT_FOUND}. Up to whitespace it matches at {len(blocks)} places; the first is:\n"
            + show_spaces(text.split("\n"), blocks[0].first, blocks[0].first + blocks[0].size)
        )
    unit = _unit(text.split("\n"))
    return Found(tuple(block.splice(edit, unit) for block in blocks), loosely=True)


def _places(text: str, old: str) -> Iterator[int]:
    at = text.find(old)
    while at >= 0:
        yield at
        at = text.find(old, at + len(old))


# --- white space -------------------------------------------------------------------------


@attrs.frozen
class _Block:
    """Lines of a text that are an edit's old text but for white space.

    Attributes:
        first: Index of the first line.
        start: Where the first line begins, in characters.
        end: Where the last line ends, before its line feed.
    """

    first: int
    start: int
    end: int
    lines: tuple[str, ...]

    def splice(self, edit: Edit, unit: str) -> Splice:
        """Return the replacement, indented in the text's own way."""
        old, new = edit.old.split("\n"), edit.new.split("\n")
        ended = edit.old.endswith("\n")  # then it ends with the line feed, too
        if [_indent(line) for line in self.lines] != [_indent(line) for line in old[: self.size]]:
            indent = _first_indent(self.lines)
            if indent and indent[0] not in unit:  # a file with both: as in this place
                unit = _unit(self.lines)
            given = _unit([*old, *new]) or unit
            shift = _depth(indent, unit)[0]
            shift -= _depth(_first_indent(old), given)[0]
            new = [_indented(line, given, unit, shift) for line in new]
        return Splice(self.start, self.end + ended, "\n".join(new))

    @property
    def size(self) -> int:
        """How many lines there are."""
        return len(self.lines)


def _blocks(text: str, old: str) -> list[_Block]:
    """Return the blocks of whole lines that equal ``old`` but for white space; none overlap."""
    wanted = [_collapsed(line) for line in old.removesuffix("\n").split("\n")]
    if not any(wanted):
        return []  # nothing but white space would match everywhere
    lines = text.split("\n")
    collapsed = [_collapsed(line) for line in lines]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found: list[_Block] = []
    at, size = 0, len(wanted)
    limit = len(lines) - size - (old.endswith("\n") and not text.endswith("\n"))
    while at <= limit:
        if collapsed[at] == wanted[0] and collapsed[at : at + size] == wanted:
            block = tuple(lines[at : at + size])
            found.append(_Block(at, starts[at], starts[at + size] - 1, block))
            at += size
        else:
            at += 1
    return found


def _collapsed(line: str) -> str:
    return " ".join(line.split())


def _first_indent(lines: Iterable[str]) -> str:
    """Return the white space in front of the first line that is not blank."""
    return next((_indent(line) for line in lines if line.strip()), "")


def _indent(line: str) -> str:
    found = _INDENT.match(line)
    return found[0] if found else ""


def _unit(lines: Iterable[str]) -> str:
    """Return what these lines are indented with: a tab, the fewest blanks, or nothing.

    Lines of a comment that begin with a star stand one blank out of line and are left out.
    """
    texts = (line for line in lines if line.strip() and not line.lstrip().startswith("*"))
    indents = [indent for line in texts if (indent := _indent(line))]
    tabs = sum(indent.startswith("\t") for indent in indents)
    if 2 * tabs > len(indents):
        return "\t"
    widths = [len(indent) for indent in indents if not indent.startswith("\t")]
    return " " * min(widths, default=0)


def _depth(indent: str, unit: str) -> tuple[int, str]:
    """Return how often ``unit`` is in an indentation, and what is left of it."""
    if not unit:
        return 0, indent
    depth = 0
    while indent.startswith(unit):
        indent = indent.removeprefix(unit)
        depth += 1
    return depth, indent


def _indented(line: str, given: str, unit: str, shift: int) -> str:
    """Return a line of new text, its indentation translated from ``given`` to ``unit``."""
    if not line.strip():
        return line
    depth, rest = _depth(_indent(line), given)
    return (unit or given) * max(depth + shift, 0) + rest + line.lstrip(" \t")
