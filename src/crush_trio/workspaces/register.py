"""The workspaces that a restart must know, and the task that writes them down.

Changes are sync; one task writes them, together if they come together, so that nobody waits for a
disk. A write that fails is logged and tried again at the next change: clients that come back after
a restart then get a 404, and make their workspace anew.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from crush_trio.ids import ClientID, WorkspaceID
from crush_trio.settings import Settings
from crush_trio.workspaces.saved import SavedWorkspace, StateFile, still_kept, without

logger = logging.getLogger(__name__)

BlockingCall = Callable[..., Awaitable[Any]]
"""Runs a function that blocks, with its arguments: in a thread, or inline where time is virtual."""


class Register:
    """The saved workspaces. Use :func:`open_register`. What others call is no checkpoint.

    Without a file it stays empty, whatever is put into it.
    """

    def __init__(
        self,
        file: StateFile | None = None,
        saved: tuple[SavedWorkspace, ...] = (),
        call: BlockingCall = trio.to_thread.run_sync,
    ) -> None:
        self._file = file
        self._call = call
        self._saved = {each.id: each for each in saved}
        self._stale: dict[WorkspaceID, Callable[[], SavedWorkspace]] = {}
        self._written = tuple(self._saved.values())
        self._changed = trio.Event()
        self._writing = trio.Lock()
        self._closing = False

    def __repr__(self) -> str:
        return f"<Register {len(self._saved)} saved{' closing' if self._closing else ''}>"

    @property
    def ids(self) -> list[WorkspaceID]:
        """The workspaces, open or not, in the order in which they were opened first."""
        return list(self._saved)

    def get(self, workspace_id: str) -> SavedWorkspace | None:
        """Return the workspace with this id, open or not, as it is now."""
        identity = WorkspaceID(workspace_id)
        if (describe := self._stale.pop(identity, None)) is not None:
            self._saved[identity] = describe()
        return self._saved.get(identity)

    def at(self, directory: Path) -> SavedWorkspace | None:
        """Return the workspace of a resolved directory, open or not, as it is now."""
        name = str(directory)
        found = (each.id for each in self._saved.values() if each.directory == name)
        return self.get(next(found, ""))

    def put(self, workspace_id: WorkspaceID, describe: Callable[[], SavedWorkspace]) -> None:
        """Save a workspace that is open, or has changed.

        What it is like is asked when it is needed, so that a change costs nothing, however many
        clients there are.
        """
        if self._file is None or self._closing:
            return
        if workspace_id not in self._saved:
            saved = describe()
            if not _can_be_written(saved.directory):
                return
            self._saved[workspace_id] = saved
        self._stale[workspace_id] = describe
        self._changed.set()

    def remove(self, workspace_id: WorkspaceID) -> None:
        """Forget a workspace: nobody claims it any more (W2)."""
        if not self._closing and self._saved.pop(workspace_id, None) is not None:
            self._stale.pop(workspace_id, None)
            self._changed.set()

    def part(self, workspace_id: str, client: ClientID) -> None:
        """Hear a client's goodbye to a workspace that is not open; the last one's forgets it (R3)."""
        saved = self.get(workspace_id)
        if saved is None or (left := without(saved, client)) is saved:
            return
        if left is None:
            self.remove(saved.id)
        else:
            self.put(saved.id, lambda: left)

    def begin_closing(self) -> None:
        """Keep everything as it is: the end of the process forgets nothing (wire contract 0).

        From here on the file may be that of the next server at this address.
        """
        for workspace_id in list(self._stale):
            self.get(workspace_id)
        self._closing = True

    # --- the task that writes ---------------------------------------------------------

    async def keep_written(self, pause: float) -> None:
        """Write each change, for ever; what changes within ``pause`` seconds is written together."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await self.write()
            await trio.sleep(pause)

    async def write(self) -> None:
        """Write what has changed since the last time; one write at a time, each of the newest state."""
        async with self._writing:
            for workspace_id in list(self._stale):
                self.get(workspace_id)
            saved = tuple(self._saved.values())
            if self._file is None or saved == self._written:
                return
            try:
                await self._call(self._file.write, saved)
            except (OSError, ValueError) as error:
                logger.warning("cannot save the open workspaces in %s: %s", self._file.path, error)
            else:
                self._written = saved


def _can_be_written(directory: str) -> bool:
    """Whether a directory's name is text; one that is not is not saved."""
    try:
        directory.encode()
    except UnicodeEncodeError:
        return False
    return True


@asynccontextmanager
async def open_register(
    file: StateFile | None,
    settings: Settings,
    now: Callable[[], float],
    call: BlockingCall = trio.to_thread.run_sync,
) -> AsyncGenerator[Register]:
    """Open what the last server at an address has saved; leaving the block writes what is left.

    Args:
        file: Where it is; None saves nothing.
        settings: How long things are kept, and the pause between two writes.
        now: Unix seconds.
        call: Runs the calls that block.
    """
    found = () if file is None else await call(file.read)
    register = Register(file, still_kept(found, now(), settings.saved_kept), call)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(register.keep_written, settings.save_pause)
            yield register
            nursery.cancel_scope.cancel("the server has closed")
    finally:
        with trio.move_on_after(settings.close_timeout, shield=True):
            await register.write()
