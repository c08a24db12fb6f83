"""What a simulated server saves for the next one: which workspaces were open (wire contract 0, 5.8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from crush_trio.workspaces.saved import SavedWorkspace, StateFile

WHERE = Path("/simulated/state.json")


@attrs.define(eq=False)
class SavedState:
    """What such a file holds, which survives a restart, and a kill as it was then."""

    saved: tuple[SavedWorkspace, ...] = ()

    def file(self, is_dead: Callable[[], bool]) -> StateFile:
        """Return the file as one server has it; a dead one writes no more."""
        return _File(WHERE, "simulated", self, is_dead)


@attrs.frozen
class _File(StateFile):
    state: SavedState
    is_dead: Callable[[], bool]

    def read(self) -> tuple[SavedWorkspace, ...]:
        """Return what was saved."""
        return self.state.saved

    def write(self, saved: Sequence[SavedWorkspace]) -> None:
        """Replace what was saved."""
        if not self.is_dead():
            self.state.saved = tuple(saved)


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that blocks, where a thread would."""
    await trio.lowlevel.checkpoint()
    return function(*args)
