"""The host of all open workspaces, and of the data directories that they share.

Above it is the server; below it workspaces and stores. One task for each workspace is its lifetime
(see ``slots``). Ids are withdrawn in the step in which a workspace begins to close, so that no
request reaches a dying one (W3).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from crush_trio.config import load
from crush_trio.errors import (
    BadRequestError,
    ClientRetiredError,
    CrushTrioError,
    ServerClosingError,
    StoreError,
    WorkspaceNotFoundError,
    error_text,
    sole,
)
from crush_trio.ids import ClientID, WorkspaceID
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces.claims import Claims
from crush_trio.workspaces.datadir import DataDirectory, StoreOpener, open_data_directory
from crush_trio.workspaces.slots import Slot, Slots
from crush_trio.workspaces.workspace import Equipment, Plan, Workspace, open_workspace

logger = logging.getLogger(__name__)

CHANNELS_DIFFER = (
    "requested channels differ from the existing workspace; "
    "channels are an explicit opt-in and are not shared across duplicate creates"
)
"""Crush's refusal of a create that joins with other channels (wire contract 2.4)."""


@attrs.define(eq=False)
class _Opening:
    """What a workspace's host task needs besides its path."""

    request: CreateWorkspace
    claims: Claims


class WorkspaceHost:
    """The open workspaces by resolved path and by id. Use :func:`open_workspace_host`.

    Attributes:
        closing: The server opens nothing any more.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        equipment: Equipment,
        open_store: StoreOpener,
        env: Mapping[str, str],
    ) -> None:
        self.closing = False
        self._equipment = equipment
        self._open_store = open_store
        self._env = env
        self._workspaces = Slots[Path, Workspace](nursery, self._serve_workspace)
        self._data = Slots[Path, DataDirectory](nursery, self._serve_data)
        self._openings: dict[Path, _Opening] = {}
        self._by_id: dict[WorkspaceID, Slot[Path, Workspace]] = {}
        self._retired: set[ClientID] = set()
        self._emptied_at = trio.current_time()
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<WorkspaceHost {len(self._by_id)} open{' closing' if self.closing else ''}>"

    # --- finding -------------------------------------------------------------------------

    @property
    def workspaces(self) -> list[Workspace]:
        """The open workspaces."""
        return [slot.value for slot in self._by_id.values() if slot.value is not None]

    def get(self, workspace_id: str) -> Workspace:
        """Return an open workspace. Not a checkpoint.

        Raises:
            WorkspaceNotFoundError: no open workspace has this id.
        """
        slot = self._by_id.get(WorkspaceID(workspace_id))
        if slot is None or slot.value is None:
            raise WorkspaceNotFoundError
        return slot.value

    # --- opening -------------------------------------------------------------------------

    async def open(self, request: CreateWorkspace, client: ClientID) -> Workspace:
        """Return the workspace of a path, opening it if nobody has, with a hold for the client.

        Raises:
            ServerClosingError: the server is shutting down.
            ClientRetiredError: the client has said goodbye.
            BadRequestError: the path is no directory, or other channels are open there.
            CrushTrioError: the workspace could not be opened.
        """
        self._check(client)
        directory = _directory(request.path)
        while True:
            slot = await self._workspaces.find_or_start(directory)
            opening = self._openings.setdefault(
                directory, _Opening(request, Claims(self._equipment.settings))
            )
            self._check(client)
            if (opening.request.channels or ()) != (request.channels or ()):
                raise BadRequestError(CHANNELS_DIFFER)
            opening.claims.hold(client, request.version)  # before any await: it stays open for us
            self._notify()
            await slot.settled.wait()
            self._check(client)
            if slot.error is not None:
                raise _reason(slot.error, directory)
            if slot.value is not None and not slot.closing:
                opening.claims.hold(
                    client, request.version
                )  # an opening may take longer than a hold
                return slot.value

    def _check(self, client: ClientID) -> None:
        if self.closing:
            raise ServerClosingError
        if client in self._retired:
            raise ClientRetiredError

    async def _serve_workspace(self, slot: Slot[Path, Workspace]) -> None:
        """Be a workspace's lifetime: it is open while this call runs."""
        opening = self._openings[slot.key]
        try:
            request = opening.request
            config = load(slot.key, env=self._env, data_dir=request.data_dir, debug=request.debug)
            plan = Plan(request, slot.key, config, self._env)
            async with (
                self._use_data(config.data_dir) as data,
                open_workspace(plan, data, self._equipment, opening.claims) as workspace,
            ):
                slot.value = workspace
                self._by_id[workspace.id] = slot
                slot.settled.set()
                await opening.claims.wait_unclaimed()
                self._withdraw(slot)  # in the same step as the decision: nobody slips in
        finally:
            self._withdraw(slot)
            self._openings.pop(slot.key, None)
            self._notify()

    def _withdraw(self, slot: Slot[Path, Workspace]) -> None:
        """Make a workspace unreachable and stop its runs. Not a checkpoint (W4)."""
        slot.closing = True
        workspace = slot.value
        if workspace is not None and self._by_id.pop(workspace.id, None) is not None:
            workspace.stop_runs("the workspace is closing")

    # --- data directories -----------------------------------------------------------------

    @asynccontextmanager
    async def _use_data(self, path: Path) -> AsyncGenerator[DataDirectory]:
        """Share the data directory at ``path`` with whoever else uses it now."""
        slot: Slot[Path, DataDirectory] | None = None
        while slot is None or slot.value is None:
            slot = await self._data.find_or_start(path)
            slot.users += 1
            try:
                await slot.settled.wait()
                if slot.error is not None:
                    raise _reason(slot.error, path)
                if slot.value is not None:
                    yield slot.value
                    return
            finally:
                slot.users -= 1
                if slot.users == 0:
                    slot.unused.set()

    async def _serve_data(self, slot: Slot[Path, DataDirectory]) -> None:
        """Be a data directory's lifetime: from its first workspace to its last."""
        settings = self._equipment.settings
        async with open_data_directory(slot.key, self._open_store, settings) as data:
            slot.value = data
            slot.settled.set()
            await _wait_unused(slot)

    # --- goodbyes ---------------------------------------------------------------------------

    def release(self, workspace_id: str, client: ClientID) -> None:
        """Let a client go from one workspace; the last one closes it at once (R-08). Not a checkpoint."""
        slot = self._by_id.get(WorkspaceID(workspace_id))
        if slot is not None:
            self._openings[slot.key].claims.release(client)
            self._close_if_left(slot)

    def retire(self, client: ClientID) -> None:
        """Let a client go for ever, from every workspace (R-05). Not a checkpoint."""
        self._retired.add(client)
        for slot in list(self._by_id.values()):
            self._openings[slot.key].claims.retire(client)
            self._close_if_left(slot)

    def _close_if_left(self, slot: Slot[Path, Workspace]) -> None:
        if self._openings[slot.key].claims.goodbye:
            self._withdraw(slot)

    # --- the end --------------------------------------------------------------------------------

    def begin_closing(self) -> None:
        """Open nothing any more, and close every workspace. Not a checkpoint (7.10)."""
        self.closing = True
        for opening in self._openings.values():
            opening.claims.part_all()
        for slot in list(self._by_id.values()):
            self._withdraw(slot)

    async def wait_closed(self) -> None:
        """Wait until every workspace and every data directory has closed."""
        for slot in [*self._workspaces.all(), *self._data.all()]:
            await slot.closed.wait()

    def _notify(self) -> None:
        if not self._openings:
            self._emptied_at = trio.current_time()
        self._changed.set()
        self._changed = trio.Event()

    async def wait_idle(self, linger: float) -> None:
        """Return once no workspace has been open or opening for ``linger`` seconds (7.9)."""
        while self._openings or trio.current_time() < self._emptied_at + linger:
            deadline = float("inf") if self._openings else self._emptied_at + linger
            with trio.move_on_at(deadline):
                await self._changed.wait()


async def _wait_unused(slot: Slot[Path, DataDirectory]) -> None:
    """Wait until nobody uses a data directory, and close it to newcomers in the same step."""
    while slot.users:
        slot.unused = trio.Event()
        await slot.unused.wait()
    slot.closing = True


def _directory(path: str) -> Path:
    """Return the resolved directory of a create, made if it is missing (R-07).

    Raises:
        BadRequestError: the path is missing, or is no directory.
    """
    if not path:
        raise BadRequestError("path is required")
    try:
        directory = Path(path).resolve()
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadRequestError(f"path {path!r} is not a usable directory: {reason}") from error
    return directory


def _reason(error: BaseException, path: Path) -> CrushTrioError:
    """Return why something could not be opened, as an error of ours."""
    only = sole(error)
    if isinstance(only, CrushTrioError):
        return only
    logger.error("cannot open %s", path, exc_info=error)
    return StoreError(f"cannot open {str(path)!r}: {error_text(only)}")


@asynccontextmanager
async def open_workspace_host(
    equipment: Equipment, open_store: StoreOpener, env: Mapping[str, str]
) -> AsyncGenerator[WorkspaceHost]:
    """Open a host; leaving the block closes every workspace in order, also when it is cancelled."""
    async with trio.open_nursery() as nursery:
        host = WorkspaceHost(nursery, equipment, open_store, env)
        try:
            yield host
        finally:
            host.begin_closing()
            settings = equipment.settings
            limit = 2 * settings.close_timeout + settings.finish_timeout + settings.kill_grace
            with trio.move_on_after(limit, shield=True) as waiting:
                await host.wait_closed()
            if waiting.cancelled_caught:
                logger.error("workspaces did not close in %s s", limit)
            nursery.cancel_scope.cancel("the server is closing")
