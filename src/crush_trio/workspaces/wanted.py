"""The workspaces that somebody wants: each from the first request for it until it has closed.

Above it is the host, which opens and closes them; below it claims and the register. A workspace has
its id and its claims before it is open, so that whoever asks for it meanwhile finds both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs
import trio

from crush_trio.errors import BadRequestError
from crush_trio.ids import WorkspaceID, new_id
from crush_trio.settings import Settings
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces.claims import Claims
from crush_trio.workspaces.register import Register
from crush_trio.workspaces.saved import SavedClaim, SavedWorkspace

CHANNELS_DIFFER = (
    "requested channels differ from the existing workspace; "
    "channels are an explicit opt-in and are not shared across duplicate creates"
)
"""Crush's refusal of a create that joins with other channels (wire contract 2.4)."""


@attrs.define(eq=False)
class WantedWorkspace:
    """What a workspace is opened with, and who keeps it."""

    id: WorkspaceID
    directory: Path
    request: CreateWorkspace
    claims: Claims = attrs.field(init=False)

    def check_joinable(self, request: CreateWorkspace) -> None:
        """Refuse a create that cannot share what the first one has opened. Not a checkpoint.

        Raises:
            BadRequestError: it asks for other channels.
        """
        if (self.request.channels or ()) != (request.channels or ()):
            raise BadRequestError(CHANNELS_DIFFER)

    def saved(self) -> SavedWorkspace:
        """Return what a restart must know."""
        claims = tuple(SavedClaim(*client) for client in self.claims.clients())
        return SavedWorkspace(self.id, str(self.directory), self.request, claims)


class WantedWorkspaces:
    """What is open, opening or closing, by resolved directory. All but the waiting is sync.

    Args:
        settings: How long claims are.
        register: What a restart knows.
        is_open: Whether a workspace can be reached by its id.
    """

    def __init__(
        self, settings: Settings, register: Register, is_open: Callable[[WorkspaceID], bool]
    ) -> None:
        self._settings = settings
        self._register = register
        self._is_open = is_open
        self._wanted: dict[Path, WantedWorkspace] = {}
        self._emptied_at = trio.current_time()
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<WantedWorkspaces {[str(directory) for directory in self._wanted]}>"

    def __iter__(self) -> Iterator[WantedWorkspace]:
        return iter(self._wanted.values())

    def at(self, directory: Path) -> WantedWorkspace:
        """Return what is wanted in a directory, where something is.

        Raises:
            KeyError: nothing is.
        """
        return self._wanted[directory]

    def want(
        self, directory: Path, request: CreateWorkspace, saved: SavedWorkspace | None = None
    ) -> WantedWorkspace:
        """Return what is wanted in a directory; a saved workspace gets back its id and its clients.

        Args:
            directory: Resolved.
            request: What it is opened with, if nobody has wanted it yet.
            saved: It, if the caller has found it; else it is looked for in the directory.
        """
        wanted = self._wanted.get(directory)
        if wanted is None:
            saved = saved or self._register.at(directory)
            identity = WorkspaceID(new_id()) if saved is None else saved.id
            wanted = self._wanted[directory] = WantedWorkspace(identity, directory, request)
            wanted.claims = Claims(self._settings, partial(self.save, wanted))
            for claim in () if saved is None else saved.claims:
                wanted.claims.hold(claim.client_id, claim.version)
            self._notify()
        return wanted

    def save(self, wanted: WantedWorkspace) -> None:
        """Let a restart know a workspace as it is now, if it is open."""
        if self._is_open(wanted.id) and self._wanted.get(wanted.directory) is wanted:
            self._register.put(wanted.id, wanted.saved)

    def forget(self, directory: Path) -> None:
        """Note that a workspace has closed, or could not be opened."""
        self._wanted.pop(directory, None)
        if not self._wanted:
            self._emptied_at = trio.current_time()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_none(self, linger: float) -> None:
        """Return once nothing has been wanted for ``linger`` seconds (7.9)."""
        while self._wanted or trio.current_time() < self._emptied_at + linger:
            deadline = float("inf") if self._wanted else self._emptied_at + linger
            with trio.move_on_at(deadline):
                await self._changed.wait()
