"""Reading what a model says without keeping everybody else from running.

Below it is a provider. One that always has the next delta ready, because it makes them up or has them
in memory, would never let go: no cancel would reach its run and no other run would go on (R5, C3).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self

import trio

from crush_trio.providers.base import Delta

AT_ONCE = 256
"""Deltas after which others run: a millisecond or so, and not felt by who reads from a network."""


class FairDeltas:
    """The deltas of a stream, with a checkpoint now and then. No delta is lost to a cancel there.

    Args:
        deltas: What the provider gives.
    """

    def __init__(self, deltas: AsyncIterator[Delta]) -> None:
        self._deltas = deltas
        self._left = AT_ONCE

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        self._left -= 1
        if self._left == 0:
            self._left = AT_ONCE
            await trio.lowlevel.checkpoint()
        return await anext(self._deltas)
