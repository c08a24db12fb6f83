"""The host of all open workspaces, and of the data directories that they share.

Above it is the server; below it workspaces and stores. One task for each workspace is its lifetime
(see ``slots``). Ids are withdrawn in the step in which a workspace begins to close, so that no
request reaches a dying one (W3). What a restart must know of them is in the ``register``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from crush_trio.errors import (
    ClientRetiredError,
    ServerClosingError,
    WorkspaceClosingError,
    WorkspaceNotFoundError,
)
from crush_trio.ids import ClientID, WorkspaceID
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces.datadir import DataDirectories, StoreOpener
from crush_trio.workspaces.equipment import Equipment
from crush_trio.workspaces.logs import enter_log
from crush_trio.workspaces.opening import open_workspace
from crush_trio.workspaces.paths import one_name, usable_directory
from crush_trio.workspaces.plan import make_plan
from crush_trio.workspaces.register import Register
from crush_trio.workspaces.saved import SavedWorkspace
from crush_trio.workspaces.slots import Slot, Slots, why_not_open
from crush_trio.workspaces.wanted import WantedWorkspaces
from crush_trio.workspaces.workspace import Workspace

logger = logging.getLogger(__name__)


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
        register: Register,
    ) -> None:
        self.closing = False
        self._register = register
        self._equipment = equipment
        self._env = env
        self._workspaces = Slots[Path, Workspace](nursery, self._serve_workspace)
        self._data = DataDirectories(nursery, open_store, equipment.settings, equipment.observer)
        self._by_id: dict[WorkspaceID, Slot[Path, Workspace]] = {}
        self._wanted = WantedWorkspaces(equipment.settings, register, self._by_id.__contains__)
        self._retired: set[ClientID] = set()

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

    async def find(self, workspace_id: str) -> Workspace:
        """Return an open workspace; one that a restart has closed is opened again.

        Raises:
            WorkspaceNotFoundError: no workspace has this id.
            CrushTrioError: as for :meth:`reopen`.
        """
        await self.reopen(workspace_id)
        return self.get(workspace_id)

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
        directory = usable_directory(request.path)
        while True:
            await self._workspaces.wait_not_closing(directory)
            self._check(client)
            slot = self._workspaces.find_or_start(directory)
            wanted = self._wanted.want(directory, request)
            wanted.check_joinable(request)
            wanted.claims.hold(client, request.version)  # before any await: it stays open for us
            await slot.settled.wait()
            self._check(client)
            if slot.error is not None:
                raise why_not_open(slot.error, directory)
            if slot.value is not None and not slot.closing:
                wanted.claims.hold(client, request.version)  # the opening may have outlasted it
                return slot.value

    async def reopen(self, workspace_id: str) -> None:
        """Open a workspace that a restart has closed, and hold it for whoever may come (5.8).

        Nothing happens to one that is open, and to an id that nobody knows.

        Raises:
            WorkspaceClosingError: the server is shutting down.
            BadRequestError: its directory cannot be used any more.
            CrushTrioError: the workspace could not be opened; it can be tried again.
        """
        await trio.lowlevel.checkpoint()
        while (saved := self._closed(workspace_id)) is not None:
            directory = usable_directory(saved.directory)
            await self._workspaces.wait_not_closing(directory)
            if self.closing:
                raise WorkspaceClosingError
            if self._closed(workspace_id) is not saved:
                continue
            slot = self._workspaces.find_or_start(directory)
            wanted = self._wanted.want(directory, saved.request, saved)
            wanted.claims.linger()
            await slot.settled.wait()
            if slot.error is not None:
                raise why_not_open(slot.error, directory)
            wanted.claims.linger()  # the opening may have outlasted it
            if wanted.id != saved.id:  # a link leads elsewhere now, where another one is open
                self._register.remove(saved.id)

    def _closed(self, workspace_id: str) -> SavedWorkspace | None:
        """Return a workspace that is saved and not open."""
        if WorkspaceID(workspace_id) in self._by_id:
            return None
        return self._register.get(workspace_id)

    def _check(self, client: ClientID) -> None:
        if self.closing:
            raise ServerClosingError
        if client in self._retired:
            raise ClientRetiredError

    async def _serve_workspace(self, slot: Slot[Path, Workspace]) -> None:
        """Be a workspace's lifetime: it is open while this call runs."""
        wanted = self._wanted.at(slot.key)
        wanted.claims.begin(slot)  # however long it takes, no hold ends before it is open
        opened: Workspace | None = None
        try:
            plan = await make_plan(wanted, self._equipment, self._env)
            data_dir = one_name(plan.config.data_dir)
            enter_log(data_dir)
            async with (
                self._data.use(data_dir) as data,
                open_workspace(plan, data, self._equipment, wanted.claims) as workspace,
            ):
                slot.value = opened = workspace
                self._by_id[workspace.id] = slot
                self._equipment.observer.workspace_opened(workspace, slot.key, workspace.hub)
                self._wanted.save(wanted)
                await self._register.write()  # before anybody knows the id: it survives a kill
                slot.settled.set()
                logger.info("workspace %s is open: %s", workspace.id, slot.key)
                wanted.claims.end(slot)
                try:
                    await wanted.claims.wait_unclaimed()
                    self._abandon(slot)  # in the same step as the decision: nobody slips in
                finally:
                    self._withdraw(slot)  # before its streams end, also if it broke (W3)
        finally:
            self._withdraw(slot)
            if opened is not None:
                self._equipment.observer.workspace_closed(opened, opened.left)
            self._wanted.forget(slot.key)

    def _abandon(self, slot: Slot[Path, Workspace]) -> None:
        """Withdraw a workspace that nobody claims any more: a restart does not bring it back."""
        if slot.value is not None:
            self._register.remove(slot.value.id)
        self._withdraw(slot)

    def _withdraw(self, slot: Slot[Path, Workspace]) -> None:
        """Make a workspace unreachable and stop its runs. Not a checkpoint (W4)."""
        slot.closing = True
        workspace = slot.value
        if workspace is not None and self._by_id.pop(workspace.id, None) is not None:
            self._equipment.observer.workspace_withdrawn(workspace)
            workspace.stop_runs("the workspace is closing")

    def enter_log(self, workspace_id: str) -> None:
        """Let what the present task logs, and its runs do, be in the workspace's log. Not a checkpoint."""
        slot = self._by_id.get(WorkspaceID(workspace_id))
        if slot is not None and slot.value is not None:
            enter_log(slot.value.data.path)

    # --- goodbyes ---------------------------------------------------------------------------

    def release(self, workspace_id: str, client: ClientID) -> None:
        """Let a client go from one workspace; the last one closes it at once (R-08). Not a checkpoint."""
        slot = self._by_id.get(WorkspaceID(workspace_id))
        if slot is not None:
            self._wanted.at(slot.key).claims.release(client)
            self._close_if_left(slot)
            return
        for wanted in self._wanted:
            if wanted.id == workspace_id:
                wanted.claims.release(client)
        self._register.part(workspace_id, client)

    def retire(self, client: ClientID) -> None:
        """Let a client go for ever, from every workspace, also one that is opening (R-05).

        Not a checkpoint.
        """
        self._retired.add(client)
        for wanted in self._wanted:
            wanted.claims.retire(client)
        for slot in list(self._by_id.values()):
            self._close_if_left(slot)
        for workspace_id in self._register.ids:
            if workspace_id not in self._by_id:
                self._register.part(workspace_id, client)

    def _close_if_left(self, slot: Slot[Path, Workspace]) -> None:
        if self._wanted.at(slot.key).claims.goodbye:
            self._abandon(slot)

    # --- the end --------------------------------------------------------------------------------

    def begin_closing(self) -> None:
        """Open nothing any more, and close every workspace. Not a checkpoint (7.10)."""
        self.closing = True
        self._register.begin_closing()
        for wanted in self._wanted:
            wanted.claims.part_all()
        for slot in list(self._by_id.values()):
            self._withdraw(slot)

    async def wait_closed(self) -> None:
        """Wait until every workspace and every data directory has closed."""
        while slots := self._workspaces.all() or self._data.all():
            await slots[0].closed.wait()

    async def wait_idle(self, linger: float) -> None:
        """Return once no workspace has been open or opening for ``linger`` seconds (7.9)."""
        await self._wanted.wait_none(linger)


@asynccontextmanager
async def open_workspace_host(
    equipment: Equipment,
    open_store: StoreOpener,
    env: Mapping[str, str],
    register: Register | None = None,
) -> AsyncGenerator[WorkspaceHost]:
    """Open a host; leaving the block closes every workspace in order, also when it is cancelled.

    Args:
        equipment: What every workspace is lent.
        open_store: Opens the store of a data directory.
        env: The server's environment.
        register: Where the workspaces that are open are saved, and those of the last server are
            found; None forgets them.
    """
    grace = trio.CancelScope(shield=True)  # bounded: ends with the block, which waits in bounds

    async def own(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        with grace:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await trio.sleep_forever()

    async with trio.open_nursery() as owner:
        nursery: trio.Nursery = await owner.start(own)
        host = WorkspaceHost(nursery, equipment, open_store, env, register or Register())
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
            grace.cancel("the server is closing")
