r"""Ways to a value in a JSON document, as clients write them, and changes at their end (R-47, R-48).

``options.tui.compact_mode`` are three keys. ``\.`` is a dot inside a key, a number counts in an
array (``-1`` is behind its end), and ``:`` in front of a number makes it a key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from crush_trio.errors import BadRequestError

_NUMBER = re.compile(r"-1|0|[1-9][0-9]{0,8}")
_FORBIDDEN = frozenset("*?#|@!")
"""Characters that mean a search in this notation, not a place."""


def parse_key(text: str) -> list[str]:
    """Return the keys of a dotted way.

    Raises:
        BadRequestError: it is empty, or has an empty or a searching key.
    """
    if not text:
        raise BadRequestError("path cannot be empty")
    keys = [""]
    escaped = False
    for char in text:
        if escaped or char not in {"\\", "."}:
            if not escaped and char in _FORBIDDEN:
                raise BadRequestError(f"key {text!r}: {char!r} is not allowed here without a '\\'")
            keys[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            keys.append("")
    if "" in keys:
        raise BadRequestError(f"key {text!r} has an empty part")
    return keys


def put(document: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set the value at the end of a way; missing objects on the way are made.

    Raises:
        BadRequestError: there is something on the way that is neither an object nor an array.
    """
    place: Any = document
    for index, key in enumerate(keys[:-1]):
        following: Any = [] if _NUMBER.fullmatch(keys[index + 1]) else {}
        inner = _get(place, key)
        if inner is None:
            inner = following
            _set(place, key, inner, keys)
        elif not isinstance(inner, dict | list):
            at = ".".join(keys[: index + 1])
            raise BadRequestError(f"{at} is a value of its own, so nothing can be set inside it")
        place = cast("Any", inner)
    _set(place, keys[-1], value, keys)


def drop(document: dict[str, Any], keys: Sequence[str]) -> None:
    """Remove the value at the end of a way; nothing happens where there is none."""
    place: Any = document
    for key in keys[:-1]:
        place = _get(place, key)
        if not isinstance(place, dict | list):
            return
    if isinstance(place, dict):
        cast("dict[str, Any]", place).pop(_plain(keys[-1]), None)
    elif (at := _position(cast("list[Any]", place), keys[-1])) is not None:
        del place[at]


def _plain(key: str) -> str:
    return key[1:] if key.startswith(":") and _NUMBER.fullmatch(key[1:]) else key


def _position(array: list[Any], key: str) -> int | None:
    """Return the position of an element that is there; -1 is the last one."""
    if not _NUMBER.fullmatch(key):
        return None
    at = int(key) if key != "-1" else len(array) - 1
    return at if 0 <= at < len(array) else None


def _get(place: Any, key: str) -> Any:
    if isinstance(place, dict):
        return cast("dict[str, Any]", place).get(_plain(key))
    array = cast("list[Any]", place)
    at = None if key == "-1" else _position(array, key)
    return None if at is None else array[at]


def _set(place: Any, key: str, value: Any, keys: Sequence[str]) -> None:
    if isinstance(place, dict):
        cast("dict[str, Any]", place)[_plain(key)] = value
        return
    array = cast("list[Any]", place)
    if key in {"-1", str(len(array))}:
        array.append(value)
    elif (at := _position(array, key)) is not None:
        array[at] = value
    else:
        raise BadRequestError(
            f"{'.'.join(keys)}: {key!r} is no place in an array of {len(array)} elements"
        )
