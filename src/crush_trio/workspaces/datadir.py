"""A data directory while it is open: one store, the lanes of its sessions, and who watches.

Several workspaces may share a data directory (the nearest ``.crush`` upwards). The store, the lanes
and the decoded history hang here, so that a session is busy in every workspace that shares it;
event hubs belong to workspaces, and each of them hears every event of the store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio

from crush_trio.agent.histories import Histories
from crush_trio.hub import Hub
from crush_trio.ids import SessionID
from crush_trio.observer import SILENT, Observer
from crush_trio.runs import Lane, Results
from crush_trio.settings import Settings
from crush_trio.store import Store
from crush_trio.wire.events import Event
from crush_trio.workspaces.logs import open_log
from crush_trio.workspaces.slots import Slot, Slots, why_not_open

StoreOpener = Callable[[Path, Callable[[Event], None]], AbstractAsyncContextManager[Store]]
"""Opens the store of a directory: the real one, or its twin in memory."""


class DataDirectory:
    """An open data directory. Use :func:`open_data_directory`."""

    def __init__(self, path: Path, settings: Settings, observer: Observer = SILENT) -> None:
        self.path = path
        self._observer = observer
        self.store: Store
        self.histories: Histories
        self._settings = settings
        self._results = Results(settings.result_kept)
        self._lanes: dict[SessionID, Lane] = {}
        self._hubs: list[Hub] = []

    def __repr__(self) -> str:
        return f"<DataDirectory {self.path} lanes {len(self._lanes)} hubs {len(self._hubs)}>"

    def publish(self, event: Event) -> None:
        """Tell every workspace that shares this directory. Not a checkpoint."""
        for hub in self._hubs:
            hub.publish(event)

    def join(self, hub: Hub) -> None:
        """Let a workspace's hub hear what happens here from now on. Not a checkpoint."""
        self._hubs.append(hub)

    def leave(self, hub: Hub) -> None:
        """Let a workspace's hub go. Not a checkpoint."""
        self._hubs.remove(hub)

    def lane(self, session_id: SessionID) -> Lane:
        """Return the session's lane, a new one if it has none. Not a checkpoint."""
        lane = self._lanes.get(session_id)
        if lane is None:
            lane = Lane(session_id, self.publish, self._results, self._settings, self._observer)
            self._lanes[session_id] = lane
        return lane

    def busy(self, session_id: SessionID) -> bool:
        """Whether the session has a run that has not settled."""
        lane = self._lanes.get(session_id)
        return lane is not None and lane.busy

    def busy_lanes(self) -> list[Lane]:
        """Return the lanes that have a run which has not settled."""
        return [lane for lane in self._lanes.values() if lane.busy]

    def prune(self, session_id: SessionID) -> None:
        """Forget the lane of a session that is idle, and what was kept for it. Not a checkpoint."""
        if not self.busy(session_id):
            self._lanes.pop(session_id, None)


@asynccontextmanager
async def open_data_directory(
    path: Path, opener: StoreOpener, settings: Settings, observer: Observer = SILENT
) -> AsyncGenerator[DataDirectory]:
    """Open the store of a data directory; leaving the block closes it after its last write.

    Raises:
        DataDirectoryInUseError: another process holds the directory.
        StoreError: the database cannot be opened.
    """
    directory = DataDirectory(path, settings, observer)
    async with opener(path, directory.publish) as directory.store:
        with open_log(path):
            directory.histories = Histories(directory.store, settings.history_bytes)
            yield directory


class DataDirectories:
    """The data directories that are open, each from its first workspace to its last.

    Args:
        nursery: Owns their lifetimes.
        opener: Opens the store of one.
        settings: Timeouts and limits.
        observer: Hears of the runs.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        opener: StoreOpener,
        settings: Settings,
        observer: Observer = SILENT,
    ) -> None:
        self._opener = opener
        self._observer = observer
        self._settings = settings
        self._slots = Slots[Path, DataDirectory](nursery, self._serve)

    def all(self) -> list[Slot[Path, DataDirectory]]:
        """Return those that are open, opening or closing."""
        return self._slots.all()

    @asynccontextmanager
    async def use(self, path: Path) -> AsyncGenerator[DataDirectory]:
        """Share the data directory at ``path`` with whoever else uses it now.

        Raises:
            CrushTrioError: it could not be opened.
        """
        slot: Slot[Path, DataDirectory] | None = None
        while slot is None or slot.value is None:
            await self._slots.wait_not_closing(path)
            slot = self._slots.find_or_start(path)
            slot.users += 1
            try:
                await slot.settled.wait()
                if slot.error is not None:
                    raise why_not_open(slot.error, path)
                if slot.value is not None:
                    yield slot.value
                    return
            finally:
                slot.users -= 1
                if slot.users == 0:
                    slot.unused.set()

    async def _serve(self, slot: Slot[Path, DataDirectory]) -> None:
        """Be a data directory's lifetime."""
        opening = open_data_directory(slot.key, self._opener, self._settings, self._observer)
        async with opening as data:
            slot.value = data
            slot.settled.set()
            await _wait_unused(slot)


async def _wait_unused(slot: Slot[Path, DataDirectory]) -> None:
    """Wait until nobody uses a data directory, and close it to newcomers in the same step."""
    while slot.users:
        slot.unused = trio.Event()
        await slot.unused.wait()
    slot.closing = True
