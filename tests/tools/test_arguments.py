"""Parameters: what a model is told of them, and what it is told when they do not fit."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from crush_trio.tools.arguments import NOT_JSON, ArgumentsError, decode, required, schema


class Item(msgspec.Struct, frozen=True):
    """One item."""

    text: Annotated[str, msgspec.Meta(description="Its text")]
    kind: Literal["a", "b"] = "a"


class Params(msgspec.Struct, frozen=True):
    """Some parameters."""

    path: Annotated[str, msgspec.Meta(description="A path")]
    count: Annotated[int, msgspec.Meta(description="How many")] = 0
    flag: bool = False
    names: tuple[str, ...] = ()
    items: Annotated[tuple[Item, ...], msgspec.Meta(description="Items")] = ()
    first: Annotated[Item, msgspec.Meta(description="The first")] = Item("x")


def test_a_schema_is_plain() -> None:
    """No references, titles or defaults; required is what has no default (agent contract 2.1)."""
    item = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "Its text"},
            "kind": {"type": "string", "enum": ["a", "b"]},
        },
        "required": ["text"],
    }
    assert schema(Params) == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "A path"},
            "count": {"type": "integer", "description": "How many"},
            "flag": {"type": "boolean"},
            "names": {"type": "array", "items": {"type": "string"}},
            "items": {"type": "array", "items": item, "description": "Items"},
            "first": item | {"description": "The first"},
        },
        "required": ["path"],
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"path": "p", "count": 3}',
        '{"path": "p", "count": "3"}',
        '{"path": "p", "count": 3.0}',
        '{"path": "p", "count": 3, "flag": null, "unknown": [1]}',
    ],
)
def test_arguments_are_taken_as_models_write_them(text: str) -> None:
    """Numbers as text, null for what is left out, keys of one's own invention."""
    assert decode(text, Params) == Params("p", 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "path is required"),
        ("{}", "path is required"),
        ('{"path": null}', "path is required"),
        ('{"path": 5}', "path: expected `str`, got `int`"),
        ('{"path": "p", "count": "many"}', "count: expected `int`, got `str`"),
        ('{"path": "p", "items": [{}]}', "items[0].text is required"),
        ('{"path": "p", "items": [{"text": "t", "kind": "c"}]}', "items[0].kind: invalid enum"),
        ("open the pod bay doors", NOT_JSON),
        ("[1]", NOT_JSON),
        ('{"path": ', NOT_JSON),
        ('{"path": "\ud800"}', NOT_JSON),
    ],
)
def test_what_does_not_fit_is_named(text: str, message: str) -> None:
    """The model learns which field and what was expected."""
    with pytest.raises(ArgumentsError) as caught:
        decode(text, Params)
    assert str(caught.value).startswith(message)


def test_an_empty_text_counts_as_missing_where_one_is_required() -> None:
    """Recorded case ``tool/arguments-cut-off``."""
    with pytest.raises(ArgumentsError, match=r"^file_path is required$"):
        required(file_path="")
    required(file_path="p")
