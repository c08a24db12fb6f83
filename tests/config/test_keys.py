"""Ways to a value in a document (R-47, R-48)."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from crush_trio.config.keys import drop, parse_key, put
from crush_trio.errors import BadRequestError


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", ["a"]),
        ("options.tui.transparent", ["options", "tui", "transparent"]),
        (r"providers.my\.host.api_key", ["providers", "my.host", "api_key"]),
        (r"a\\b", ["a\\b"]),
        (r"a\*", ["a*"]),
        ("list.0", ["list", "0"]),
    ],
)
def test_a_way_is_split_at_its_dots(text: str, keys: list[str]) -> None:
    """But not at a dot behind a backslash."""
    assert parse_key(text) == keys


@pytest.mark.promise("C4")
@pytest.mark.parametrize("text", ["", ".", "a..b", "a.", ".a", "a.*", "a.#.b", "a|b"])
def test_what_is_no_way_to_one_place_is_refused(text: str) -> None:
    """Empty keys, and the characters that search."""
    with pytest.raises(BadRequestError):
        parse_key(text)


@pytest.mark.parametrize(
    ("before", "way", "after"),
    [
        ({}, "a.b", {"a": {"b": 1}}),
        ({"a": {"c": 2}}, "a.b", {"a": {"c": 2, "b": 1}}),
        ({"a": None}, "a.b", {"a": {"b": 1}}),
        ({"a": {"b": {"c": 2}}}, "a.b", {"a": {"b": 1}}),
        ({"a": [5]}, "a.0", {"a": [1]}),
        ({"a": [5]}, "a.1", {"a": [5, 1]}),
        ({"a": [5]}, "a.-1", {"a": [5, 1]}),
        ({}, "a.0", {"a": [1]}),
        ({}, "a.:0", {"a": {"0": 1}}),
        ({"a": {"0": 5}}, "a.0", {"a": {"0": 1}}),
        ({"a": [{"b": 2}]}, "a.0.b", {"a": [{"b": 1}]}),
    ],
)
def test_a_value_is_set_at_the_end_of_its_way(
    before: dict[str, Any], way: str, after: dict[str, Any]
) -> None:
    """What is missing on the way is made."""
    put(before, parse_key(way), 1)
    assert before == after


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("document", "way", "words"),
    [
        ({"a": True}, "a.b", "a is a value of its own"),
        ({"a": [5]}, "a.7", "'7' is no place in an array of 1 elements"),
        ({"a": [5]}, "a.b", "'b' is no place in an array"),
        ({}, "a.5", "'5' is no place in an array of 0 elements"),
    ],
)
def test_a_place_that_cannot_be_is_refused(document: dict[str, Any], way: str, words: str) -> None:
    """Nothing that was there is thrown away for it."""
    with pytest.raises(BadRequestError, match=words):
        put(document, parse_key(way), 1)


@pytest.mark.parametrize(
    ("way", "after"),
    [
        ("a", {"l": [1, 2], "7": 0}),
        ("a.b", {"a": {}, "l": [1, 2], "7": 0}),
        ("l.0", {"a": {"b": 1}, "l": [2], "7": 0}),
        ("l.-1", {"a": {"b": 1}, "l": [1], "7": 0}),
        (":7", {"a": {"b": 1}, "l": [1, 2]}),
        ("none", None),
        ("a.none.deeper", None),
        ("a.b.c", None),
        ("l.9", None),
        ("l.x", None),
    ],
)
def test_a_value_is_removed_if_it_is_there(way: str, after: dict[str, Any] | None) -> None:
    """Nothing happens where there is none."""
    document: dict[str, Any] = {"a": {"b": 1}, "l": [1, 2], "7": 0}
    before = copy.deepcopy(document)
    drop(document, parse_key(way))
    assert document == (before if after is None else after)
