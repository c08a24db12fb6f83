"""How long a workspace lives, through HTTP and in virtual time: who keeps it, and for how long."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import new_id
from crush_trio.providers.scripted import Say, ScriptedModel, WaitFor
from history_kit import check_stream
from people_kit import (
    GRACE,
    HOLD,
    create_workspace,
    desk,
    events_path,
    listening,
    noticed,
    status_of,
)
from world_kit import open_world

LIMIT = 7200
"""Virtual seconds; a test that hangs gets there at once."""


@pytest.mark.promise("W2", "W3")
async def test_a_hold_ends_after_30_seconds_and_each_create_renews_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The next create makes a new workspace."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            place, client = str(world.directory), new_id()
            first = (await create_workspace(world, place, client)).json["id"]
            await trio.sleep(HOLD - 1)
            assert (await create_workspace(world, place, client)).json["id"] == first
            await trio.sleep(HOLD - 0.1)
            assert await status_of(world, first) == 200
            await trio.sleep(0.2)
            assert await status_of(world, first) == 404
            assert (await create_workspace(world, place, client)).json["id"] != first


@pytest.mark.promise("W2", "W3")
async def test_a_client_that_returns_within_the_grace_finds_its_workspace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The grace is ten seconds after the last stream; a second later it is too late."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            workspace = (await create_workspace(world, str(world.directory))).json["id"]
            path = f"/v1/workspaces/{workspace}/events?client_id={new_id()}"
            async with world.call("GET", path) as call:
                await call.head()
                await trio.sleep(HOLD + 100)  # the creator's hold is long over
                assert await status_of(world, workspace) == 200
            await noticed()
            await trio.sleep(GRACE - 0.1)
            async with world.call("GET", path) as call:
                assert (await call.head()).startswith(b"HTTP/1.1 200")
                await trio.sleep(GRACE + 100)
            await noticed()
            await trio.sleep(GRACE + 0.1)
            gone = await world.request("GET", path)
            assert (gone.status, gone.json) == (404, {"message": "workspace not found"})


@pytest.mark.promise("W2", "R3")
async def test_an_unsettled_run_keeps_its_workspace_and_its_end_begins_the_grace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """No expiry ends a run; a client may come and go while it lasts."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("done")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            async with world.visit() as workspace:
                session = await workspace.create_session("New Session")
                await session.submit("hello")
            for _ in range(3):
                await trio.sleep(600)
                async with world.visit() as again:
                    assert again.id == workspace.id
                    async with listening(again):
                        pass
            await trio.sleep(600)
            gate.set()
            await noticed()
            await trio.sleep(GRACE - 0.1)
            assert await status_of(world, workspace.id) == 200
            await trio.sleep(0.2)
            assert await status_of(world, workspace.id) == 404


@pytest.mark.promise("W2")
async def test_a_retired_client_gets_no_workspace_any_more(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Retiring is for ever, also for a client that nobody knew; others are not concerned."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, world.visit() as other, listening(other):
            client = new_id()
            for _ in range(2):
                assert (await world.request("DELETE", f"/v1/clients/{client}")).status == 200
            refused = await create_workspace(world, str(world.directory), client)
            assert (refused.status, refused.json) == (409, {"message": "client has been retired"})
            assert await status_of(world, other.id) == 200


@pytest.mark.promise("W2", "R3", "R2")
async def test_a_stream_of_somebody_else_keeps_a_workspace_that_its_creator_retires_from(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The goodbye of one client ends nothing of another."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("done")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            async with world.client() as creator:
                async with creator.open_workspace(str(world.directory)) as workspace:
                    async with world.prompt(workspace.session(place.session.id), "hello") as call:
                        await model.wait_request(1)
                        await creator.retire()
                        gate.set()
                        assert (await call.reply()).json["text"] == "done"
            await place.ear.wait_complete()
            check_stream(place.ear.events)


@pytest.mark.promise("W2")
async def test_many_streams_of_many_clients_are_counted_right(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The workspace stays until the last stream of the last client has gone, whatever the order."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, world.visit() as workspace:
            async with AsyncExitStack() as stack:
                calls = [
                    await stack.enter_async_context(world.call("GET", events_path(workspace)))
                    for _ in range(10)
                ]
                for call in calls:
                    await call.head()
                for call in calls:
                    await trio.sleep(HOLD)
                    assert await status_of(world, workspace.id) == 200
                    call.drop()
            await noticed()
            await trio.sleep(GRACE - 1)
            assert await status_of(world, workspace.id) == 200
            await trio.sleep(2)
            assert await status_of(world, workspace.id) == 404
