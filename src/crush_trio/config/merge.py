"""Merging of JSON documents: what several configuration files say together (agent contract 3.1).

Objects merge key by key, arrays are concatenated with the earlier file's elements first, scalars
are replaced, and ``null`` leaves what an earlier file said. Two kinds of value under one key are
an error. Merging is associative, so it does not matter in which groups files are merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crush_trio.errors import ConfigError


class KindsDifferError(ConfigError):
    """Two files give one key values of different kinds.

    Attributes:
        key: The way to the value.
    """

    def __init__(self, key: tuple[str, ...], why: str) -> None:
        super().__init__(f"{'.'.join(key)}: {why}")
        self.key = key


def merge(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return both documents as one; neither is changed.

    Raises:
        KindsDifferError: a key has values of different kinds; it names the key, not the values.
    """
    return _merge_objects(earlier, later, ())


def _merge_objects(
    earlier: Mapping[str, Any], later: Mapping[str, Any], at: tuple[str, ...]
) -> dict[str, Any]:
    merged = dict(earlier)
    for key, value in later.items():
        before = merged.get(key)
        merged[key] = value if before is None else _merge_values(before, value, (*at, key))
    return merged


def _merge_values(earlier: Any, later: Any, at: tuple[str, ...]) -> Any:
    if later is None:
        return earlier
    before, after = _kind(earlier), _kind(later)
    if before != after:
        raise KindsDifferError(at, f"{after} here, but {before} earlier")
    if after == "object":
        return _merge_objects(earlier, later, at)
    return [*earlier, *later] if after == "array" else later


def _kind(value: Any) -> str:
    match value:
        case dict():
            return "object"
        case list():
            return "array"
        case bool():  # before numbers: a bool is an int to Python
            return "boolean"
        case int() | float():
            return "number"
        case _:
            return "string"
