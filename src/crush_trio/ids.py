"""Identifiers, each with its own type, so that one cannot be passed for another."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NewType

RunID = NewType("RunID", str)
SessionID = NewType("SessionID", str)
MessageID = NewType("MessageID", str)
WorkspaceID = NewType("WorkspaceID", str)
ClientID = NewType("ClientID", str)


def _random() -> uuid.UUID:
    return uuid.uuid4()


_source: ContextVar[Callable[[], uuid.UUID]] = ContextVar("id_source", default=_random)


def new_id() -> str:
    """Return a new random UUID in its dashed lower-case form, as Crush writes ids."""
    return str(_source.get()())


def new_call_id(index: int) -> str:
    """Return an id for the tool call with this number in its answer, which its model gave none.

    Its beginning is Crush's (agent contract 1.23). The rest makes it like no other in the
    conversation, since clients find a call's result by its id. Vendors take at most 40 characters.
    """
    return f"tool-call-{index}-{_source.get()().hex[:16]}"


@contextmanager
def ids_from(source: Callable[[], uuid.UUID]) -> Generator[None]:
    """Take new ids from somewhere else in this context, as a simulated run does."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)
