"""Two servers, one after the other: which workspaces the second one knows, and how it opens them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import SETTINGS, Disk, Town, accepted, now, told, write_config
from crush_trio.errors import (
    BadRequestError,
    ConfigError,
    DataDirectoryInUseError,
    WorkspaceClosingError,
    WorkspaceNotFoundError,
)
from crush_trio.ids import ClientID
from crush_trio.messages import Prompt
from crush_trio.providers.scripted import Hang, Say, ScriptedModel, WaitFor
from crush_trio.workspaces import (
    Equipment,
    Register,
    StateFile,
    Workspace,
    open_register,
    open_workspace_host,
)

LIMIT = 7200
A, B, C = ClientID("a"), ClientID("b"), ClientID("c")


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    """Run a blocking call without a thread, so that time may be virtual."""
    await trio.lowlevel.checkpoint()
    return function(*args)


@asynccontextmanager
async def open_server(tmp_path: Path, *answers: Any) -> AsyncGenerator[Town]:
    """Open a server that finds what the one before it has left in the same directory."""
    directory, home = tmp_path / "project", tmp_path / "home"
    if not directory.exists():
        write_config(directory)
    home.mkdir(exist_ok=True)
    town = Town(directory, ScriptedModel(*answers), Disk())
    equipment = Equipment(town.open_provider, None, SETTINGS, now)
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    async with (
        open_register(StateFile(tmp_path / "state.json", "s"), SETTINGS, now, inline) as register,
        open_workspace_host(equipment, town.open_store, env, register) as host,
    ):
        town.host = host
        yield town


def register_of(town: Town) -> Register:
    """Return what a server has saved."""
    return town.host._register


@asynccontextmanager
async def open_before(tmp_path: Path, *clients: ClientID, **fields: Any) -> AsyncGenerator[str]:
    """Be the id of a workspace that was open when the server before ended."""
    async with open_server(tmp_path) as town:
        (identity,) = {(await town.open(client, **fields)).id for client in clients}
    yield identity


async def gone(town: Town, identity: str) -> bool:
    """Whether nobody knows an id."""
    try:
        await town.host.find(identity)
    except WorkspaceNotFoundError:
        return True
    return False


async def expire(town: Town, seconds: float) -> None:
    """Let time pass, and look that a workspace lived that long and no longer."""
    await trio.sleep(seconds - 0.1)
    assert len(town.host.workspaces) == 1
    await trio.sleep(0.2)
    assert town.host.workspaces == []


# --- coming back by id --------------------------------------------------------------------------


@pytest.mark.promise("W3", "C1")
async def test_a_request_for_a_known_id_opens_its_workspace_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With the flags of its first creator, its sessions, and an agent that answers; nothing is
    opened before somebody asks."""
    with trio.fail_after(LIMIT):
        flags: dict[str, Any] = {"yolo": True, "env": ("X=1",), "channels": ("server:x",)}
        async with open_server(tmp_path, "one") as town:
            workspace = await town.open("a", version="0.90.0", **flags)
            request = workspace.plan.request
            await town.open("b", channels=("server:x",), yolo=False)
            session = await town.session(workspace)
            await accepted(workspace.submit(session, Prompt("hello"))).finished.wait()
        async with open_server(tmp_path, "two") as town:
            await trio.sleep(100)
            assert (town.host.workspaces, town.opened) == ([], [])
            again = await town.host.find(workspace.id)
            assert again is not workspace
            assert (again.id, again.plan.request) == (workspace.id, request)
            assert again.permissions.skip
            assert town.host.get(workspace.id) is await town.host.find(workspace.id) is again
            assert town.host.workspaces == [again]
            assert again.claims.versions() == ["0.90.0"]
            await accepted(again.submit(session, Prompt("and?"))).finished.wait()
            assert told(await again.data.store.messages(session)) == [
                "user stop hello",
                "assistant end_turn one",
                "user stop and?",
                "assistant end_turn two",
            ]
            assert len(town.opened) == 1


@pytest.mark.promise("W1", "W3")
async def test_everybody_who_comes_back_at_once_gets_the_same_workspace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By its id or by its path; it is opened once."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity, open_server(tmp_path) as town:
            gate = trio.Event()
            town.opening = gate.wait
            found: list[Workspace] = []

            async def by_id() -> None:
                found.append(await town.host.find(identity))

            async def by_path() -> None:
                found.append(await town.open("b", yolo=True))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(by_id)
                await wait_all_tasks_blocked()
                for come in (by_path, by_id, by_path):
                    nursery.start_soon(come)
                await wait_all_tasks_blocked()
                assert (found, len(town.opened)) == ([], 1)
                gate.set()
            assert len(found) == 4
            assert {workspace.id for workspace in found} == {identity}
            assert not found[0].plan.request.yolo  # the first one opened it


@pytest.mark.promise("W2", "W3")
@pytest.mark.parametrize("claimed", [True, False])
async def test_what_is_opened_again_is_held_for_thirty_seconds(
    claimed: bool, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """For the clients of before, and for whoever asked if there were none; however long the
    opening takes. Then the id is gone, for the next server too."""
    with trio.fail_after(LIMIT):
        async with open_server(tmp_path, [WaitFor(trio.Event())]) as town:
            workspace = await town.open("a")
            if not claimed:  # a run alone keeps it open
                workspace.submit(await town.session(workspace), Prompt("hello"))
                await trio.sleep(SETTINGS.create_hold + 1)
                workspace.claims._expire()
                await trio.sleep(1)
            assert register_of(town).get(workspace.id) is not None
        async with open_server(tmp_path) as town:
            saved = register_of(town).get(workspace.id)
            assert saved is not None
            assert [claim.client_id for claim in saved.claims] == ([A] if claimed else [])

            async def slowly() -> None:
                await trio.sleep(100)

            town.opening = slowly
            await town.host.find(workspace.id)
            await expire(town, SETTINGS.create_hold)
            assert await gone(town, workspace.id)
        async with open_server(tmp_path) as town:
            assert await gone(town, workspace.id)
            assert await town.open() is not None


@pytest.mark.promise("W2")
async def test_a_stream_keeps_what_it_has_opened_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Of a client of before or of any other; and its grace comes after it."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity, open_server(tmp_path) as town:
            workspace = await town.host.find(identity)
            with workspace.attach(B):
                await trio.sleep(3600)
                assert town.host.get(identity) is workspace
            await expire(town, SETTINGS.detach_grace)


# --- coming back by path ----------------------------------------------------------------------------


@pytest.mark.promise("W1", "W3")
async def test_a_create_of_a_saved_path_gets_its_id(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """However the path is spelt; who creates it anew says how, as in any new server, so that no
    yolo of another day comes back; the clients of before find it."""
    with trio.fail_after(LIMIT):
        fields = {"yolo": True, "env": ("X=1",), "channels": ("server:x",)}
        async with open_before(tmp_path, A, **fields) as identity, open_server(tmp_path) as town:
            (tmp_path / "link").symlink_to(town.directory)
            workspace = await town.open("b", tmp_path / "link", env=("X=2",))
            assert workspace.id == identity
            assert not workspace.permissions.skip
            assert workspace.plan.request.env == ("X=2",)
            town.host.release(identity, B)
            await wait_all_tasks_blocked()
            assert await town.host.find(identity) is workspace  # A still has its hold
            await expire(town, SETTINGS.create_hold)


@pytest.mark.promise("W3")
async def test_another_path_gets_another_id(autojump_clock: MockClock, tmp_path: Path) -> None:
    """And what was saved of the first one stays."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity:
            async with open_server(tmp_path) as town:
                write_config(tmp_path / "other")
                other = await town.open("b", tmp_path / "other")
                assert other.id != identity
            async with open_server(tmp_path) as town:
                assert {(await town.host.find(each)).id for each in (identity, other.id)} == {
                    identity,
                    other.id,
                }


@pytest.mark.promise("W1")
async def test_an_id_whose_directory_has_become_a_link_is_the_links_target(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One workspace for each directory: if that is open already, the old id is gone."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity, open_server(tmp_path) as town:
            town.directory.rename(tmp_path / "moved")
            town.directory.symlink_to(tmp_path / "moved")
            workspace = await town.open("b")
            assert workspace.id != identity
            assert await gone(town, identity)
            assert town.host.workspaces == [workspace]


# --- goodbyes -----------------------------------------------------------------------------------


@pytest.mark.promise("W2", "R3")
@pytest.mark.parametrize("how", ["release", "retire", "hold", "grace"])
async def test_what_was_left_is_not_opened_again(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By a goodbye, or by the end of the hold or of the grace: 404, also from the next server."""
    with trio.fail_after(LIMIT):
        async with open_server(tmp_path) as town:
            workspace = await town.open("a")
            if how == "release":
                town.host.release(workspace.id, A)
            elif how == "retire":
                town.host.retire(A)
            elif how == "grace":
                with workspace.attach(A):
                    await trio.sleep(100)
            await trio.sleep(SETTINGS.create_hold + 1)
            assert await gone(town, workspace.id)
        assert not (tmp_path / "state.json").exists()
        async with open_server(tmp_path) as town:
            assert await gone(town, workspace.id)
            assert (await town.open("a")).id != workspace.id


@pytest.mark.promise("W2", "R3")
@pytest.mark.parametrize("how", ["release", "retire"])
async def test_a_goodbye_to_a_workspace_that_is_not_open_opens_nothing(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The last one's makes the id unknown."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A, B) as identity, open_server(tmp_path) as town:

            def leave(client: ClientID) -> None:
                if how == "release":
                    town.host.release(identity, client)
                else:
                    town.host.retire(client)

            leave(C)
            leave(A)
            saved = register_of(town).get(identity)
            assert saved is not None
            assert [claim.client_id for claim in saved.claims] == [B]
            leave(B)
            assert await gone(town, identity)
            assert town.opened == []


@pytest.mark.promise("W2", "R3")
@pytest.mark.parametrize("how", ["release", "retire"])
async def test_a_goodbye_to_a_workspace_that_is_being_opened_again_closes_it(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whoever asked for it gets a 404, and nothing stays open."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity, open_server(tmp_path) as town:
            gate = trio.Event()
            town.opening = gate.wait
            answers: list[bool] = []

            async def ask() -> None:
                answers.append(await gone(town, identity))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                assert len(town.opened) == 1
                if how == "release":
                    town.host.release(identity, A)
                else:
                    town.host.retire(A)
                gate.set()
            assert answers == [True]
            await wait_all_tasks_blocked()
            assert town.open_now == 0


@pytest.mark.promise("W3")
async def test_the_claims_are_saved_as_they_come_and_go(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By creates, streams and goodbyes, with what each client called itself."""
    with trio.fail_after(LIMIT):
        async with open_server(tmp_path) as town:
            workspace = await town.open("a", version="1")

            def claims() -> list[tuple[str, str]]:
                saved = register_of(town).get(workspace.id)
                assert saved is not None
                return [(claim.client_id, claim.version) for claim in saved.claims]

            assert claims() == [("a", "1")]
            with workspace.attach(B):
                assert claims() == [("a", "1"), ("b", "")]
                await town.open("a", version="2")
                assert claims() == [("a", "2"), ("b", "")]
                await trio.sleep(SETTINGS.create_hold + 1)
                await town.open("c", version="3")
                assert claims() == [("b", ""), ("c", "3")]
                town.host.release(workspace.id, C)
                assert claims() == [("b", "")]


# --- what can go wrong -------------------------------------------------------------------------------


@pytest.mark.promise("W3", "C3")
async def test_an_opening_that_fails_is_told_and_can_be_tried_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It is no 404: a client that got one would make another workspace. Here the server before
    still holds the directory, and then somebody is editing the configuration."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity, open_server(tmp_path) as town:
            town.open_error = DataDirectoryInUseError("data directory is in use by pid 1")
            with pytest.raises(DataDirectoryInUseError):
                await town.host.find(identity)
            town.open_error = None
            good = (town.directory / "crush.json").read_text()
            (town.directory / "crush.json").write_text("{")
            with pytest.raises(ConfigError):
                await town.host.find(identity)
            (town.directory / "crush.json").write_text(good)
            assert (await town.host.find(identity)).id == identity


@pytest.mark.promise("C4")
async def test_a_directory_that_cannot_be_used_any_more_is_named(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A missing one is made again, as for a create; a file in its place is an error."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity, open_server(tmp_path) as town:
            town.directory.rename(tmp_path / "moved")
            town.directory.write_text("x")
            with pytest.raises(BadRequestError, match="not a usable directory"):
                await town.host.find(identity)
            town.directory.unlink()
            assert (await town.host.find(identity)).id == identity
            assert town.directory.is_dir()


@pytest.mark.promise("C3", "W3")
async def test_a_workspace_that_broke_is_opened_again_by_whoever_comes_back(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Nobody has left it: under the same id, in the same server."""

    async def bug() -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug of ours")

    with trio.fail_after(LIMIT):
        async with open_server(tmp_path) as town:
            workspace = await town.open("a")
            with workspace.attach(B) as stream:
                town.host.release(workspace.id, B)
                workspace.nursery.start_soon(bug)
                with pytest.raises(trio.EndOfChannel):
                    await stream.receive()
                again = await town.host.find(workspace.id)
                assert again is not workspace
                assert again.id == workspace.id
            assert [client for client, _ in again.claims.clients()] == [A, B]


@pytest.mark.promise("W4", "W3")
async def test_a_closing_server_says_so_and_the_next_one_knows_the_id(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A client that still gets through must not take its workspace for lost; nor does a goodbye in
    these seconds count, since the file may be the next server's already."""
    with trio.fail_after(LIMIT):
        async with open_server(tmp_path, [Say("Half"), Hang()]) as town:
            workspace = await town.open("a")
            session = await town.session(workspace)
            run = accepted(workspace.submit(session, Prompt("hello")))
            await trio.sleep(1)
            town.host.begin_closing()
            with pytest.raises(WorkspaceClosingError, match="workspace closing"):
                await town.host.find(workspace.id)
            town.host.release(workspace.id, A)
            town.host.retire(A)
            await town.host.wait_closed()
            assert run.outcome == "cancelled"
        async with open_server(tmp_path) as town:
            again = await town.host.find(workspace.id)
            assert again.id == workspace.id
            assert told(await again.data.store.messages(session))[-1] == "assistant canceled Half"


@pytest.mark.promise("W3", "W4")
async def test_a_server_that_closes_while_it_opens_one_again_says_so(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It is opened, closed and gone, and still saved."""
    with trio.fail_after(LIMIT):
        async with open_before(tmp_path, A) as identity:
            async with open_server(tmp_path) as town:
                gate = trio.Event()
                town.opening = gate.wait
                errors: list[str] = []

                async def ask() -> None:
                    try:
                        await town.host.find(identity)
                    except WorkspaceClosingError as error:
                        errors.append(str(error))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask)
                    await wait_all_tasks_blocked()
                    town.host.begin_closing()
                    gate.set()
                assert errors == ["workspace closing"]
                await town.host.wait_closed()
                assert town.open_now == 0
            async with open_server(tmp_path) as town:
                assert (await town.host.find(identity)).id == identity


@pytest.mark.promise("W3")
@pytest.mark.parametrize("how", ["cancelled", "broken"])
async def test_a_server_that_ends_in_disorder_forgets_nothing(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Cancelled from outside, or by an error of its own."""
    identity = ""
    with trio.fail_after(LIMIT):
        try:
            with trio.CancelScope() as scope:
                async with open_server(tmp_path) as town:
                    identity = (await town.open("a")).id
                    if how == "broken":
                        raise RuntimeError("a bug")  # noqa: TRY301
                    scope.cancel()
                    await trio.sleep_forever()
        except* RuntimeError:
            pass
        async with open_server(tmp_path) as town:
            assert (await town.host.find(identity)).id == identity
