"""The task that writes down which workspaces are open."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crush_trio.ids import ClientID, WorkspaceID
from crush_trio.settings import Settings
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces.register import Register, open_register
from crush_trio.workspaces.saved import SavedClaim, SavedWorkspace, StateFile

SETTINGS = Settings()
A, B = ClientID("a"), ClientID("b")
DAY = 86400.0


@attrs.define(eq=False)
class Disk:
    """Runs blocking calls without a thread, so that time may be virtual.

    Attributes:
        writes: How many workspaces each write has written.
        gate: Awaited in the middle of a write.
        full: Whether writes fail.
    """

    file: StateFile
    writes: list[int] = attrs.field(factory=list[int])
    gate: trio.Event | None = None
    full: bool = False

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Do what a worker thread would do; like one, it is not cut by a cancel."""
        await trio.lowlevel.checkpoint()
        if args:
            self.writes.append(len(args[0]))
            if self.gate is not None:
                with trio.CancelScope(shield=True):
                    await self.gate.wait()
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
        return function(*args)

    @property
    def ids(self) -> list[str]:
        """What another server would find now."""
        return [saved.id for saved in self.file.read()]

    def open(self, now: Callable[[], float] = trio.current_time) -> Any:
        """Open a register on this disk."""
        return open_register(self.file, SETTINGS, now, self.call)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A disk without a file."""
    return Disk(StateFile(tmp_path / "s.json", "unix:///s"))


def saved(name: str, *clients: ClientID) -> SavedWorkspace:
    """Return a workspace that was open."""
    claims = tuple(SavedClaim(client) for client in clients)
    return SavedWorkspace(WorkspaceID(name), f"/{name}", CreateWorkspace(f"/{name}"), claims)


def put(register: Register, workspace: SavedWorkspace) -> None:
    """Save a workspace that is like this."""
    register.put(workspace.id, lambda: workspace)


async def test_a_change_is_written_at_once_and_a_crowd_of_them_together(
    autojump_clock: MockClock, disk: Disk
) -> None:
    """Whoever changes something does not wait for it."""
    async with disk.open() as register:
        put(register, saved("w"))
        await wait_all_tasks_blocked()
        assert disk.ids == ["w"]
        for number in range(100):
            put(register, saved(str(number)))
            await trio.lowlevel.checkpoint()
        await trio.sleep(SETTINGS.save_pause)
        await wait_all_tasks_blocked()
        assert disk.writes == [1, 101]
        register.remove(WorkspaceID("w"))
        await trio.sleep(1)
        assert disk.writes == [1, 101, 100]


async def test_what_changes_during_a_write_is_in_the_next_one(
    autojump_clock: MockClock, disk: Disk
) -> None:
    """One write at a time, and none is lost."""
    disk.gate = trio.Event()
    async with disk.open() as register:
        put(register, saved("w"))
        await wait_all_tasks_blocked()
        put(register, saved("v"))
        await trio.sleep(10)
        assert disk.writes == [1]
        disk.gate.set()
        await trio.sleep(1)
        assert disk.writes == [1, 2]
        assert disk.ids == ["w", "v"]


async def test_what_changes_nothing_is_not_written(autojump_clock: MockClock, disk: Disk) -> None:
    """The same again, a workspace that came and went, and a start that changes nothing."""
    async with disk.open() as register:
        put(register, saved("w"))
        await trio.sleep(1)
        put(register, saved("w"))
        put(register, saved("v"))
        register.remove(WorkspaceID("v"))
        register.remove(WorkspaceID("unknown"))
        await trio.sleep(1)
        assert disk.writes == [1]
    async with disk.open() as register:
        assert register.get("w") is not None
        await trio.sleep(1)
    assert disk.writes == [1]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_the_last_change_is_written_when_the_server_ends(
    cancelled: bool, autojump_clock: MockClock, disk: Disk
) -> None:
    """Also if a write is under way, and if the server is cancelled in the middle of it."""
    disk.gate = trio.Event()
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery, disk.open() as register:
            put(register, saved("w"))
            await wait_all_tasks_blocked()
            put(register, saved("v"))
            register.begin_closing()
            if cancelled:
                scope.cancel()
            gate = disk.gate
            nursery.start_soon(_open_later, gate)
    assert disk.writes == [1, 2]
    assert disk.ids == ["w", "v"]


async def _open_later(gate: trio.Event) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(1)
    gate.set()


@pytest.mark.promise("C3")
async def test_a_disk_that_fails_is_logged_and_tried_again(
    autojump_clock: MockClock, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """At the next change; nobody else is told."""
    disk.full = True
    async with disk.open() as register:
        put(register, saved("w"))
        await trio.sleep(100)
        assert disk.writes == [1]
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "No space left" in record.message
        disk.full = False
        put(register, saved("v"))
        await trio.sleep(1)
        assert disk.ids == ["w", "v"]


@pytest.mark.promise("W3")
async def test_the_end_of_the_process_forgets_nothing(
    autojump_clock: MockClock, disk: Disk
) -> None:
    """What closes because the server closes stays; a goodbye that comes then is too late."""
    async with disk.open() as register:
        put(register, saved("w", A))
        register.begin_closing()
        register.remove(WorkspaceID("w"))
        register.part("w", A)
        put(register, saved("v"))
    assert disk.ids == ["w"]


@pytest.mark.promise("R3")
async def test_goodbyes_reach_what_is_not_open(autojump_clock: MockClock, disk: Disk) -> None:
    """What the last client leaves is forgotten; who has no claim leaves nothing (wire contract 7.5)."""
    async with disk.open() as register:
        for workspace in (saved("w", A, B), saved("v", A), saved("u")):
            put(register, workspace)
        for workspace_id in ("w", "v", "u", "unknown"):
            register.part(workspace_id, A)
        assert register.ids == ["w", "u"]
        assert register.get("w") == saved("w", B)
    assert disk.file.read() == (saved("w", B), saved("u"))


@pytest.mark.promise("W3")
async def test_what_a_workspace_is_like_is_asked_when_it_is_needed(
    autojump_clock: MockClock, disk: Disk
) -> None:
    """Once for a crowd of changes; the last time when the server begins to close."""
    asked: list[int] = []
    clients: list[ClientID] = []

    def describe() -> SavedWorkspace:
        asked.append(len(clients))
        return saved("w", *clients)

    async with disk.open() as register:
        for number in range(1000):
            clients.append(ClientID(str(number)))
            register.put(WorkspaceID("w"), describe)
        await trio.sleep(1)
        assert asked == [1, 1000]  # the first one to know its directory
        clients.append(A)
        register.put(WorkspaceID("w"), describe)
        register.begin_closing()
        clients.clear()
    assert asked == [1, 1000, 1001]
    assert len(disk.file.read()[0].claims) == 1001


async def test_what_was_not_used_for_a_week_is_forgotten(
    autojump_clock: MockClock, disk: Disk
) -> None:
    """Counted from the restart; what is opened again is used."""
    disk.file.write([saved("w"), saved("v")])
    async with disk.open(lambda: DAY) as register:
        put(register, saved("v"))
    async with disk.open(lambda: 7.9 * DAY):
        pass
    async with disk.open(lambda: 8 * DAY) as register:
        assert register.get("w") is None
        put(register, saved("u"))
    assert disk.ids == ["v", "u"]


async def test_a_directory_whose_name_is_no_text_is_not_saved(
    autojump_clock: MockClock, disk: Disk
) -> None:
    """The file is JSON; the others are saved all the same."""
    async with disk.open() as register:
        put(register, saved("\udcff"))
        put(register, saved("w"))
    assert disk.ids == ["w"]


async def test_without_a_file_nothing_is_saved(autojump_clock: MockClock) -> None:
    """A server that nobody comes back to."""
    register = Register()
    put(register, saved("w"))
    assert register.get("w") is None
    async with open_register(None, SETTINGS, trio.current_time) as register:
        put(register, saved("w"))
        assert register.at(Path("/w")) is None


async def test_a_real_file_is_written_by_a_thread(disk: Disk) -> None:
    """As the server does it."""
    with trio.fail_after(5):
        async with open_register(disk.file, SETTINGS, trio.current_time) as register:
            put(register, saved("w"))
        async with open_register(disk.file, SETTINGS, trio.current_time) as register:
            assert register.at(Path("/w")) is not None
