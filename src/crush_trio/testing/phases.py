"""Where the runs of a world stand at a moment: the phases by which a sweep counts its strikes."""

from __future__ import annotations

from typing import get_args

from crush_trio.runs import Run, State
from crush_trio.testing.core import Core
from crush_trio.testing.model import Standing

PHASES = (
    "accepted",
    "queued",
    "folded",
    "streaming",
    "tool",
    "permission",
    "retry",
    "concluding",
    "settled",
)
"""Everything that a run can be at."""

assert set(get_args(Standing)) < set(PHASES)


def phases(core: Core) -> frozenset[str]:
    """Return the phases that some run is in now; empty before there is any. Not a checkpoint."""
    life = core.lives[-1] if core.lives else None
    if life is None or not life.runs:
        return frozenset()
    unsettled = life.unsettled()
    if not unsettled:
        return frozenset({"settled"})
    found = {_phase(core, run) for run in unsettled}
    if any(workspace.permissions.open_requests() for workspace in life.host.workspaces):
        found = (found - {"tool"}) | {"permission"}
    return frozenset(found)


def _phase(core: Core, run: Run) -> str:
    match run.state:
        case State.WAITING:
            return "queued"
        case State.FOLDED:
            return "folded"
        case State.ACTIVE:
            return core.model.standing(run)
        case _:
            return "concluding"
