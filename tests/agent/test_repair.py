"""Arguments of tool calls become JSON objects where that is possible."""

from __future__ import annotations

import json

import pytest

from crush_trio.agent.repair import REPAIR_LIMIT, repair_arguments


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ('{"file_path": ', '{"file_path": ""}'),
        ('{"command": "ls -l', '{"command": "ls -l"}'),
        ("{'a': 1,}", '{"a": 1}'),
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('{"a": "é', '{"a": "é"}'),
        ('"{\\"a\\": 1}"', '{"a": 1}'),
        ("{", "{}"),
        ("", "{}"),
        ("null", "{}"),
    ],
)
def test_broken_arguments_are_repaired(sent: str, kept: str) -> None:
    """What a model cut off or quoted wrongly is still its call (wire contract 6.4)."""
    assert repair_arguments(sent) == kept


def test_an_object_is_left_as_it_is() -> None:
    """Spaces and the order of keys are the model's own."""
    sent = '{ "b" : 1,"a":{"c": [ ]}}'
    assert repair_arguments(sent) == sent


@pytest.mark.promise("R9")
@pytest.mark.parametrize(
    "sent", ["open the pod bay doors", "[1, 2", "12", '"just words"', '{"a":' * 5000]
)
def test_what_is_no_object_is_beyond_repair(sent: str) -> None:
    """The caller stores an empty object and an error result, so history stays usable."""
    assert repair_arguments(sent) is None


def test_arguments_that_are_too_long_are_not_repaired() -> None:
    """The repair runs between two checkpoints, and half a file is not to be written."""
    text = "x" * REPAIR_LIMIT
    assert repair_arguments('{"content": "' + text) is None
    whole = json.dumps({"content": text})
    assert repair_arguments(whole) == whole
