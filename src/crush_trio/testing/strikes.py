"""What may happen to a weak client's connections, or to their server, between any two steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crush_trio.ids import SessionID
from crush_trio.testing.network import Connection
from crush_trio.testing.world import World

WEAK = "weak"
"""The label of the connections that strikes hit."""


def weak(world: World) -> list[Connection]:
    """Return the weak client's connections that are open."""
    return [each for each in world.network.connections if each.label == WEAK and each.open]


def _to_each(happens: Callable[[Connection], None]) -> Callable[[World], None]:
    def strike(world: World) -> None:
        for connection in weak(world):
            happens(connection)

    return strike


def _cancel(world: World) -> None:
    """Cancel what is running, as the route does in the step that reads the request."""
    for workspace in world.server.host.workspaces:
        for lane in workspace.data.busy_lanes():
            workspace.cancel(SessionID(lane.session_id))


STRIKES: Mapping[str, Callable[[World], None]] = {
    "reset": _to_each(Connection.reset),
    "cut": _to_each(Connection.cut),
    "hang up": _to_each(Connection.hang_up),
    "half close": _to_each(Connection.half_close),
    "stall": _to_each(Connection.stall),
    "cancel": _cancel,
    "server stop": World.begin_stop,
    "kill": World.kill,
}
"""All strikes by name. None is a checkpoint."""

HARMLESS = frozenset({"reset", "cut", "hang up", "half close", "stall"})
"""Strikes of connections alone: no run may be different for them (R2)."""
