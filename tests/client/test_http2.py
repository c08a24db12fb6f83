"""The client over HTTP/2, against the real server behind a real socket."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from crush_trio.client import open_client
from crush_trio.providers.scripted import Hang, Say, ScriptedModel
from limits_kit import REAL_LIMIT
from people_kit import listening
from world_kit import open_served_world


@pytest.mark.promise("R4")
@pytest.mark.parametrize("network", ["unix", "tcp"])
async def test_the_last_answer_of_a_server_that_stops_is_heard(
    tmp_path: Path, network: str
) -> None:
    """And the proper end of the stream beside it."""
    model = ScriptedModel([Say("I begin"), Hang()])
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, network=network) as world:
            assert world.address is not None
            async with open_client(world.address, token="none is asked for", http2=True) as client:
                async with client.open_workspace(str(world.directory), linger=True) as workspace:
                    session = await workspace.create_session("main")
                    outcomes: list[str] = []

                    async def ask() -> None:
                        outcomes.append((await session.prompt("hang")).outcome)

                    async with listening(workspace) as ear, trio.open_nursery() as nursery:
                        nursery.start_soon(ask)
                        await ear.wait_text("I begin")
                        await world.stop()
                        await ear.ended.wait()
                        assert not ear.cut
    assert outcomes == ["cancelled"]


@pytest.mark.promise("R2")
async def test_a_server_notices_that_a_stream_was_left(tmp_path: Path) -> None:
    """As over HTTP/1.1, while the same client's other requests go on."""
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path) as world:
            assert world.address is not None
            async with open_client(world.address, http2=True) as client:
                async with client.open_workspace(str(world.directory)) as workspace:
                    async with workspace.events():
                        exchange = await world.traffic.wait("GET", "/events")
                        assert not exchange.ended.is_set()
                    await exchange.ended.wait()
                    assert await workspace.sessions() == []
