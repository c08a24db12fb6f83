"""What a route says of itself: its types, its parameters and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

H = TypeVar("H", bound=Callable[..., object])

_ATTRIBUTE = "__operation__"

CLIENT_ID: Mapping[str, str] = {"client_id": "The UUID of the calling client."}
"""The query of routes that ask who calls."""

PREFER: Mapping[str, str] = {
    "Prefer": "How long to wait for what was asked (RFC 7240): `wait=SECONDS`, or `respond-async`."
}
"""The header of routes that may answer before they are done."""


@attrs.frozen
class Operation:
    """One route's own words.

    Attributes:
        summary: What it does, in a sentence.
        body: The type of the request's body; None if it has none.
        reply: The type of the answer's; None if it is empty.
        query: Query parameters, by name, with what they mean.
        headers: Request headers that it looks at, likewise.
        replies: Types of further answers, by status; None for an empty one.
        kind: Media type of the answer.
        body_optional: Whether the body may be left out.
    """

    summary: str
    body: Any = None
    reply: Any = None
    query: Mapping[str, str] = attrs.field(factory=dict[str, str])
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    replies: Mapping[int, Any] = attrs.field(factory=dict[int, Any])
    kind: str = "application/json"
    body_optional: bool = False


def operation(summary: str, **declared: Any) -> Callable[[H], H]:
    """Return a decorator that notes what a handler speaks. The handler itself stays as it is.

    Goes below the route's own decorator. For the keywords see :class:`Operation`.
    """
    noted = Operation(summary, **declared)

    def note(handler: H) -> H:
        setattr(handler, _ATTRIBUTE, noted)
        return handler

    return note


def operation_of(handler: Callable[..., object]) -> Operation | None:
    """Return what a handler's route says of itself, or None if it says nothing."""
    return getattr(handler, _ATTRIBUTE, None)
