"""The time that a search may take (agent contract 2.10, 2.11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from crush_trio.errors import BadRequestError
from crush_trio.wire.config import Timeout

T = TypeVar("T")


async def bounded(name: str, limit: Timeout, default: float, work: Callable[[], Awaitable[T]]) -> T:
    """Do ``work``, but not for longer than it may take.

    Args:
        name: Which tool searches, for the error.
        limit: What is configured, in nanoseconds.
        default: Seconds if nothing is.
        work: The search.

    Raises:
        BadRequestError: it took longer; the model is told what to do.
    """
    seconds = limit.timeout / 1e9 if limit.timeout and limit.timeout > 0 else default
    with trio.move_on_after(seconds):
        return await work()
    raise BadRequestError(
        f"{name} did not end within {seconds:g} seconds; use a more specific path or pattern"
    )
