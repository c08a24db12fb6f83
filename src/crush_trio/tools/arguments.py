"""Arguments of tools: frozen structs, the JSON schema that a model sees, errors it can act on.

A tool declares its parameters once, as a msgspec struct whose fields carry descriptions; what a
model is told and what is accepted both come from it (agent contract 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from crush_trio.errors import BadRequestError

P = TypeVar("P", bound=msgspec.Struct)

NOT_JSON = (
    "Tool call failed: arguments were not valid JSON. "
    "Please check your tool call format and try again."
)
"""Content of the result of a call whose arguments are no JSON object (recorded from Crush)."""

_KEYWORDS = {"type", "description", "enum", "required"}
_MISSING = re.compile(r"missing required field `(?P<field>[^`]+)`")
_PLACE = re.compile(r" - at `\$\.?(?P<place>[^`]*)`$")


class ArgumentsError(BadRequestError):
    """A tool call's arguments do not fit; the message names the field."""


def schema(params: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON schema of a tool's parameters in its plain form, without references."""
    _, definitions = msgspec.json.schema_components([params])
    return _plain({"$ref": params.__name__}, definitions)


def _plain(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve references; drop what models have no use for (titles, defaults, docstrings)."""
    if "$ref" in node:
        found = _plain(definitions[node["$ref"].rpartition("/")[2]], definitions)
        found.pop("description", None)  # the docstring of the struct
        return found | {key: node[key] for key in _KEYWORDS & node.keys()}
    found = {key: value for key, value in node.items() if key in _KEYWORDS}
    if "enum" in found:
        found.setdefault("type", "string")
    if "items" in node:
        found["items"] = _plain(node["items"], definitions)
    if "properties" in node:
        properties = cast("Mapping[str, Mapping[str, Any]]", node["properties"])
        found["properties"] = {name: _plain(p, definitions) for name, p in properties.items()}
        found.setdefault("required", [])
    return found


def decode(arguments: bytes | str, params: type[P]) -> P:
    """Return a tool call's arguments as its parameters.

    Models write ``null`` for what they leave out and numbers as text; both are understood.

    Raises:
        ArgumentsError: they are no JSON object, or a field is missing or of another type.
    """
    try:
        given: Any = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise ArgumentsError(NOT_JSON) from None
    if not isinstance(given, dict):
        raise ArgumentsError(NOT_JSON)
    try:
        return msgspec.convert(_without_nulls(given), params, strict=False)
    except msgspec.ValidationError as failure:
        raise ArgumentsError(_explain(str(failure))) from None


def _without_nulls(given: Any) -> Any:
    """Return JSON values without what is ``null`` in their objects, at any depth."""
    if isinstance(given, dict):
        fields = cast("dict[str, Any]", given)
        return {name: _without_nulls(v) for name, v in fields.items() if v is not None}
    if isinstance(given, list):
        return [_without_nulls(value) for value in cast("list[Any]", given)]
    return given


def required(**fields: str) -> None:
    """Check that required texts are not empty.

    Raises:
        ArgumentsError: one is; the message names it.
    """
    for name, value in fields.items():
        if not value:
            raise ArgumentsError(f"{name} is required")


def _explain(failure: str) -> str:
    place = _PLACE.search(failure)
    where = place["place"] if place else ""
    problem = _PLACE.sub("", failure)
    if missing := _MISSING.search(problem):
        return f"{where}.{missing['field']} is required".removeprefix(".")
    return f"{where}: {problem[:1].lower()}{problem[1:]}"
