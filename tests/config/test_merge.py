"""Merging of configuration documents (agent contract 3.1)."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.config.merge import merge
from crush_trio.errors import ConfigError

NAMES = st.sampled_from("abc")
SCALARS = st.integers() | st.floats(allow_nan=False)


def documents(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Documents in which a key's first letter decides its kind, so that no two ever clash."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "n": SCALARS,
        "s": st.text(max_size=3),
        "b": st.booleans(),
        "l": st.lists(SCALARS, max_size=3),
    }
    if depth:
        kinds["o"] = documents(depth - 1)
    members = [
        st.dictionaries(NAMES.map(lambda name, kind=kind: kind + name), values | st.none())
        for kind, values in kinds.items()
    ]
    return st.tuples(*members).map(lambda groups: reduce(lambda all_, one: all_ | one, groups))


@pytest.mark.parametrize(
    ("earlier", "later", "merged"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": 2.5}, {"a": 2.5}),
        ({"a": True}, {"a": False}, {"a": False}),
        ({"a": "x"}, {"a": ""}, {"a": ""}),
        ({"a": [1]}, {"a": [2, 1]}, {"a": [1, 2, 1]}),
        (
            {"a": {"b": 1, "c": [1]}},
            {"a": {"c": [2], "d": 3}},
            {"a": {"b": 1, "c": [1, 2], "d": 3}},
        ),
        ({"a": 1}, {"a": None}, {"a": 1}),
        ({"a": None}, {"a": 1}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {"b": 1}}),
        ({"a": None}, {}, {"a": None}),
    ],
)
def test_documents_merge_by_the_rules(
    earlier: dict[str, Any], later: dict[str, Any], merged: dict[str, Any]
) -> None:
    """Objects merge, arrays are concatenated, scalars are replaced, null leaves what there is."""
    assert merge(earlier, later) == merged


@pytest.mark.parametrize(
    ("earlier", "later"), [(1, "x"), ([1], {"b": 1}), (True, 1), (0, False), ("x", ["x"])]
)
def test_values_of_different_kinds_are_an_error_that_names_the_key(
    earlier: object, later: object
) -> None:
    """A clash is refused, and the values, which may be keys, are not in the text."""
    with pytest.raises(ConfigError, match=r"^outer\.inner: \w+ here, but \w+ earlier$"):
        merge({"outer": {"inner": earlier}}, {"outer": {"inner": later}})


@given(documents(), documents(), documents())
def test_the_grouping_of_files_does_not_matter(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    """Merging is associative."""
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(documents(), documents())
def test_the_last_scalar_wins_and_no_key_is_lost(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Each key of either document is there, and a later scalar replaces an earlier one."""
    merged = merge(one, two)
    assert merged.keys() == one.keys() | two.keys()
    for key, value in two.items():
        if value is not None and key[0] in "nsb":
            assert merged[key] == value


@given(documents(), documents())
def test_merging_changes_neither_document(one: dict[str, Any], two: dict[str, Any]) -> None:
    """The inputs are as they were, and an empty document changes nothing."""
    before = repr((one, two))
    merge(one, two)
    assert repr((one, two)) == before
    assert merge(one, {}) == merge({}, one) == one
