"""How a workspace opens, through HTTP and in virtual time: many creates, slow ones, and failing ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.errors import StoreError
from crush_trio.ids import new_id
from crush_trio.store import Store
from crush_trio.wire.events import Event
from people_kit import HOLD, create_workspace, noticed, status_of
from serving_kit import Reply
from world_kit import open_inline_store, open_world

LIMIT = 7200
"""Virtual seconds; a test that hangs gets there at once."""


class SlowDisk:
    """A store that opens when it is told to, or fails to."""

    def __init__(self) -> None:
        self.openings = 0
        self.opening = trio.Event()
        self.gate = trio.Event()
        self.error: Exception | None = None

    @asynccontextmanager
    async def open(
        self, directory: Path, publish: Callable[[Event], None]
    ) -> AsyncGenerator[Store]:
        """Open a store, after the gate."""
        self.openings += 1
        self.opening.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        async with open_inline_store(directory, publish) as store:
            yield store


@pytest.mark.promise("W1")
async def test_creates_of_one_directory_however_parallel_share_one_workspace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By whatever name they call it; the flags of the first one count, and all are told so."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            place = str(world.directory)
            (tmp_path / "link").symlink_to(world.directory)
            names = [place, place + "/", str(tmp_path / "link"), f"{place}/../project"]
            replies: list[Reply] = []

            async def one(name: str, number: int) -> None:
                replies.append(
                    await create_workspace(world, name, yolo=number == 0, env=[f"N={number}"])
                )

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(one, names[number % 4], number)
            assert {reply.status for reply in replies} == {200}
            assert len({reply.json["id"] for reply in replies}) == 1
            assert len({str(reply.json["env"]) for reply in replies}) == 1
            assert len({reply.json.get("yolo", False) for reply in replies}) == 1
            late = await create_workspace(world, place, yolo=True, env=["N=late"])
            assert late.json["id"] == replies[0].json["id"]
            assert late.json["env"] == replies[0].json["env"]
            listed = (await world.request("GET", "/v1/workspaces")).json
            assert [workspace["id"] for workspace in listed] == [late.json["id"]]


@pytest.mark.promise("W1", "C4")
async def test_a_create_with_other_channels_is_refused_and_changes_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Channels are opted into, not inherited; the refused client has no claim."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            place = str(world.directory)
            first = await create_workspace(world, place, channels=["server:a"])
            assert first.json["channels"] == ["server:a"]
            await trio.sleep(20)
            refused = await create_workspace(world, place, channels=[])
            assert (refused.status, "channels differ" in refused.json["message"]) == (400, True)
            await trio.sleep(HOLD - 20 + 0.1)  # a claim of the refused one would hold it
            assert await status_of(world, first.json["id"]) == 404


@pytest.mark.promise("W2", "W3")
async def test_creates_and_goodbyes_at_any_step_leave_no_dying_workspace_to_anybody(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One client says goodbye, another one creates some scheduling steps later. Whatever it is
    given works, and what it was given before is the same or gone for everybody."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            place = str(world.directory)
            given: set[bool] = set()
            for steps in range(-24, 26, 2):
                client, other = new_id(), new_id()
                old = (await create_workspace(world, place, client)).json["id"]

                async def retire(client: str = client, steps: int = steps) -> None:
                    for _ in range(-steps):
                        await trio.lowlevel.checkpoint()
                    await world.request("DELETE", f"/v1/clients/{client}")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(retire)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    reply = await create_workspace(world, place, other)
                assert reply.status == 200
                fresh = reply.json["id"]
                given.add(fresh == old)
                assert await status_of(world, fresh) == 200
                session = await world.request(
                    "POST", f"/v1/workspaces/{fresh}/sessions", {"title": "T"}
                )
                assert session.status == 200
                assert (await world.request("DELETE", f"/v1/clients/{other}")).status == 200
                await world.host.wait_closed()
            assert given == {True, False}


@pytest.mark.promise("W1", "W2", "R2")
async def test_a_creator_that_leaves_while_its_workspace_opens_takes_it_from_nobody(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Nor does an opening that takes longer than a hold."""
    disk = SlowDisk()
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, store=disk.open) as world:
            body = {"path": str(world.directory), "client_id": new_id(), "env": ["WHO=first"]}
            async with world.call("POST", "/v1/workspaces", body) as first:
                await disk.opening.wait()
                async with world.call(
                    "POST", "/v1/workspaces", body | {"client_id": new_id()}
                ) as b:
                    await world.traffic.wait("POST", "/workspaces", 2)
                    first.drop()
                    await world.traffic.of("POST", "/workspaces")[0].ended.wait()
                    await trio.sleep(HOLD + 60)
                    disk.gate.set()
                    reply = await b.reply()
            assert (reply.status, reply.json["env"], disk.openings) == (200, ["WHO=first"], 1)
            await trio.sleep(HOLD - 1)
            assert await status_of(world, reply.json["id"]) == 200


@pytest.mark.promise("W1", "C3", "C4")
async def test_an_opening_that_fails_is_told_to_everybody_and_tried_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """All who waited get the reason; the next create begins anew."""
    disk = SlowDisk()
    disk.error = StoreError("cannot open the database: it is broken")
    replies: list[Reply] = []
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, store=disk.open) as world:

            async def one() -> None:
                replies.append(await create_workspace(world, str(world.directory)))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(one)
                await world.traffic.wait("POST", "/workspaces", 5)
                await noticed()
                disk.gate.set()
            assert {(r.status, r.json["message"]) for r in replies} == {(500, str(disk.error))}
            assert disk.openings == 1
            disk.error = None
            assert (await create_workspace(world, str(world.directory))).status == 200


@pytest.mark.promise("W4", "W3", "S6")
@pytest.mark.parametrize("goodbye", ["stop", "retire"])
async def test_a_goodbye_while_a_workspace_opens_closes_it_when_it_has_opened(
    autojump_clock: MockClock, tmp_path: Path, goodbye: str
) -> None:
    """Its creator is told why it gets none: 503 from a stopping server, 409 as a retired client."""
    disk, client = SlowDisk(), new_id()
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, store=disk.open) as world:
            body = {"path": str(world.directory), "client_id": client}
            async with world.call("POST", "/v1/workspaces", body) as call:
                await disk.opening.wait()
                async with trio.open_nursery() as nursery:
                    if goodbye == "stop":
                        nursery.start_soon(world.stop)
                    else:
                        nursery.start_soon(world.request, "DELETE", f"/v1/clients/{client}")
                    await noticed()
                    disk.gate.set()
                reply = await call.reply()
            expected = {
                "stop": (503, "server is shutting down"),
                "retire": (409, "client has been retired"),
            }
            assert (reply.status, reply.json["message"]) == expected[goodbye]
            await world.host.wait_closed()
            assert world.host.workspaces == []
