"""What a request for events asks for: ids, where to go on, deltas (wire contract 0; ``docs/wire.md``).

Asked for nothing, a stream is Crush's to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from crush_trio.errors import BadRequestError
from crush_trio.hub import Wish

_ID = re.compile(r"[0-9]{1,19}", re.ASCII)


def read_wish(
    query: Mapping[str, Sequence[str]], headers: Iterable[tuple[bytes, bytes]]
) -> Wish | None:
    """Return what a stream asks for beyond plain events; None if nothing.

    ``Last-Event-ID`` outranks ``after``: a browser that comes back sends the address that it began
    with, and in the header how far it got.

    Raises:
        BadRequestError: a value makes no sense; the message names the parameter.
    """
    deltas = _flag(query, "deltas")
    ids = _flag(query, "ids") or deltas
    after = _number("after", query["after"][0]) if "after" in query else None
    last = next((value for name, value in headers if name.lower() == b"last-event-id"), b"")
    if last.strip():
        after = _number("Last-Event-ID", last.decode("latin-1").strip())
    return Wish(after, deltas) if ids or after is not None else None


def _flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    value = query.get(name, ["0"])[0]
    if value not in {"0", "1"}:
        raise BadRequestError(f"{name} is neither 0 nor 1: {value!r}")
    return value == "1"


def _number(name: str, value: str) -> int:
    if _ID.fullmatch(value) is None:
        raise BadRequestError(f"{name} is not the id of an event: {value!r}")
    return int(value)
