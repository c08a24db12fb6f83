"""What an operation is."""

from __future__ import annotations

from typing import Protocol

from crush_trio.testing.core import Core


class Operation(Protocol):
    """One line of a story."""

    async def __call__(self, core: Core) -> None:
        """Do it, in a world that may have changed in any way."""
        ...


def anybody_left(core: Core) -> bool:
    """Whether somebody is left who may still do something."""
    return core.life is not None and bool(core.life.unsettled())
