"""Where in a JSON text a value stands, so that an error can name its line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

Step = str | int
"""A key of an object, or a position in an array."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def line_of(text: str, path: Sequence[Step]) -> int | None:
    """Return the line, counted from 1, of the value at ``path``; None if it is not there.

    Args:
        text: A valid JSON text.
        path: The way from the outermost value; empty for that itself.
    """
    at: int | None = _skip(text, 0)
    for step in path:
        at = _find(text, at, step)
        if at is None:
            return None
    return text.count("\n", 0, at) + 1


def shown(path: Sequence[Step]) -> str:
    """Return a path as people write it: ``providers.p.models[0].id``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(
        "."
    )


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _find(text: str, at: int, step: Step) -> int | None:
    """Return where a member's value begins; of a key that is there twice, the last one."""
    is_object = text[at] == "{"
    if not is_object and text[at] != "[":
        return None
    found, index, at = None, 0, _skip(text, at + 1)
    while text[at] not in "}]":
        key: Step = index
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _skip(text, at) + 1)  # over the colon
        if key == step:
            found = at
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        at = _skip(text, at + 1) if text[at] == "," else at
        index += 1
    return found
