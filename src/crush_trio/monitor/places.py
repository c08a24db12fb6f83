"""Checks on workspaces: one for each directory (W1), and nothing left of one that has closed (W5)."""

from __future__ import annotations

from pathlib import Path

import attrs

from crush_trio.monitor.ledger import Ledger
from crush_trio.monitor.runs import RunChecks
from crush_trio.observer import ObservedHub


@attrs.frozen(eq=False)
class _Place:
    directory: Path
    hub: ObservedHub


class PlaceChecks:
    """Follows every workspace from its opening to its end."""

    def __init__(self, ledger: Ledger, runs: RunChecks) -> None:
        self._ledger = ledger
        self._runs = runs
        self._open: dict[object, _Place] = {}
        self._directories: dict[Path, object] = {}

    def hub(self, workspace: object) -> ObservedHub | None:
        """Return the hub of a workspace that is open."""
        place = self._open.get(workspace)
        return None if place is None else place.hub

    def directory(self, workspace: object) -> Path | None:
        """Return the directory of a workspace that is open."""
        place = self._open.get(workspace)
        return None if place is None else place.directory

    def opened(self, workspace: object, directory: Path, hub: ObservedHub) -> None:
        """Check that no other workspace has the same directory, by whatever name."""
        directory = directory.resolve()  # for what a caller may have left unresolved
        if directory in self._directories:
            self._ledger.violated("W1", "two workspaces have one directory", directory)
        self._open[workspace] = _Place(directory, hub)
        self._directories[directory] = workspace

    def closed(self, workspace: object, left: int) -> None:
        """Check that nothing is left of a workspace."""
        place = self._open.pop(workspace, None)
        if place is None:
            self._ledger.violated("W1", "a workspace closed that was not open")
            return
        if self._directories.get(place.directory) is workspace:
            del self._directories[place.directory]
        for run in self._runs.unsettled(workspace):
            self._ledger.violated("R1", "a run's workspace closed before it settled", run)
        if left or not place.hub.closed:
            text = "something is left of a workspace that has closed"
            self._ledger.violated("W5", text, f"{left} tasks, hub closed: {place.hub.closed}")
