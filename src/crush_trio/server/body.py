"""Reading request bodies: JSON into typed structs, as forgiving as Go's decoder (wire contract 2.1)."""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect
from quart import request

from crush_trio.errors import BadRequestError

T = TypeVar("T")

_ESCAPES = re.compile(
    r"""\\(?:u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}  # a whole surrogate pair
    | (u[dD][89a-fA-F][\da-fA-F]{2})                                  # half of one
    | .)                                                             # another escape""",
    re.VERBOSE | re.DOTALL,
)


async def read_body(type_: type[T]) -> T:
    """Wait for the body of the present request and return it as ``type_``.

    The content type is not looked at.

    Raises:
        BadRequestError: the body is not JSON, or a field has the wrong type; the message names it.
    """
    data = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    return decode_body(data, type_)


def decode_body(data: bytes, type_: type[T]) -> T:
    """Return the first JSON value of ``data`` as ``type_``; ``null`` means the default.

    As an element of a list it is refused: nobody means an empty attachment (wire contract 13).

    Raises:
        BadRequestError: as for :func:`read_body`.
    """
    try:
        return _decode(data, type_)
    except msgspec.ValidationError as error:
        raise _refusal(*_explain(str(error))) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _refusal("body", _malformed(data, error)) from error


def _decode(data: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.ValidationError as error:
        if "got `null`" not in str(error):
            raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    value = _without_nulls(_first_value(data), inspect.type_info(type_))
    return msgspec.convert(value, type_, str_keys=True)


def _first_value(data: bytes) -> Any:
    """Return the first JSON value, whatever follows it."""
    text = data.decode("utf-8", "replace").lstrip(" \t\r\n")
    # Half a character becomes the one that stands for none, as bytes that are none just did.
    text = _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], text)
    _, end = json.JSONDecoder().raw_decode(text)
    return msgspec.json.decode(text[:end])


def _without_nulls(value: Any, type_: inspect.Type) -> Any:
    """Return ``value`` without its nulls, but for those that ``type_`` has a use for."""
    match type_:
        case inspect.StructType() if value is None:
            return {}
        case inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field.type for field in type_.fields}
            return {
                name: _without_nulls(item, fields[name])
                for name, item in cast("dict[str, Any]", value).items()
                if name in fields and (item is not None or _takes_null(fields[name]))
            }
        case inspect.UnionType():
            for member in type_.types:
                value = _without_nulls(value, member) if value is not None else None
            return value
        case inspect.VarTupleType() | inspect.ListType() if isinstance(value, list):
            return [
                each if each is None else _without_nulls(each, type_.item_type)
                for each in cast("list[Any]", value)
            ]
        case inspect.DictType() if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            return {name: _without_nulls(item, type_.value_type) for name, item in items}
        case _:
            return value


def _takes_null(type_: inspect.Type) -> bool:
    if isinstance(type_, inspect.UnionType):
        return any(_takes_null(member) for member in type_.types)
    return isinstance(type_, inspect.NoneType | inspect.AnyType)


def _explain(message: str) -> tuple[str, str]:
    """Return the field and the reason of a message such as ``Expected `str` - at `$.prompt```."""
    reason, _, place = message.partition(" - at `$")
    field = place.rstrip("`").lstrip(".") or "body"
    return field, reason


def _malformed(data: bytes, error: Exception) -> str:
    if not data.strip():
        return "it is empty"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it is not JSON: {error}"


def _refusal(field: str, reason: str) -> BadRequestError:
    reason = reason[:1].lower() + reason[1:].replace("`", "")
    return BadRequestError(f"failed to decode request: {field}: {reason}")
