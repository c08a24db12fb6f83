"""Events across lost connections, in virtual time with the real server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio import testing as simulated
from crush_trio.client import LastingEvents, WorkspaceClient, open_client
from crush_trio.client.lasting import RETURN_TIMEOUT
from crush_trio.errors import ServerUnavailableError
from crush_trio.providers.scripted import Say, ScriptedModel, WaitFor
from people_kit import noticed
from world_kit import SETTINGS, World, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


@attrs.define(eq=False)
class Line:
    """A way to a server that can break, and stay broken."""

    world: World
    up: bool = True
    streams: list[trio.abc.Stream] = attrs.field(factory=list[trio.abc.Stream])
    attempts: int = 0

    async def connect(self) -> trio.abc.Stream:
        self.attempts += 1
        if not self.up:
            raise ConnectionRefusedError(111, "Connection refused")
        self.streams.append(await self.world.connect())
        return self.streams[-1]

    async def cut(self) -> None:
        """Break all connections."""
        for stream in self.streams:
            await trio.aclose_forcefully(stream)
        self.streams.clear()

    @asynccontextmanager
    async def workspace(self, *, linger: bool = True) -> AsyncGenerator[WorkspaceClient]:
        """Be a client on this line."""
        async with open_client(connect=self.connect) as client:
            path = str(self.world.directory)
            async with client.open_workspace(path, linger=linger) as workspace:
                yield workspace


async def until(events: LastingEvents, type_: str) -> list[Any]:
    """Read up to an event of a type; return all that came."""
    found: list[Any] = []
    async for event in events:
        found.append(event)
        if event.type == type_:
            return found
    pytest.fail(f"{type_} never came")


@pytest.mark.promise("S1", "S5")
@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_a_stream_that_is_lost_before_its_hello_leaves_no_silent_gap(http2: bool) -> None:
    """It has no id to go on behind; what passes until the next stream is said to be missing."""

    async def scenario() -> None:
        async with simulated.open_world(http2=http2) as world, world.visit() as workspace:
            session = await workspace.create_session("main")
            with trio.fail_after(LIMIT):
                async with world.client() as reader:
                    world.network.next(simulated.Cut(after=120))  # behind the head
                    async with reader.workspace(workspace.info).lasting_events() as events:
                        await session.prompt("said meanwhile")
                        heard = [await anext(events) for _ in range(2)]
        assert [event.type for event in heard] == ["hello", "too_old"]

    simulated.run(scenario)


@pytest.mark.promise("S5", "S1")
async def test_a_lost_connection_is_taken_up_where_it_broke(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Each stream begins with a hello; between them nothing is missed and nothing comes twice."""
    second = trio.Event()
    model = ScriptedModel([Say("One, "), WaitFor(second), Say("two.")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            line = Line(world)
            async with line.workspace() as workspace, workspace.lasting_events() as events:
                session = await workspace.create_session("New Session")
                await session.submit("hello", run_id="r")
                before = await until(events, "session")
                before += await until(events, "message")
                await line.cut()
                second.set()
                after = await until(events, "run_complete")
            told = [event.type for event in before + after]
            assert [told.count(each) for each in ("hello", "too_old", "run_complete")] == [2, 0, 1]
            created = [
                each.payload.id
                for each in before + after
                if each.change == "created" and each.type == "message"
            ]
            stored = [each.id for each in await messages(world, session.id)]
            assert created == stored
            answers = [each.payload for each in after if each.type == "message"]
            assert answers[-1].text == "One, two."
            assert events.last_id is not None


async def messages(world: World, session_id: str) -> list[Any]:
    async with world.visit() as workspace:
        return await workspace.session(session_id).messages()


@pytest.mark.promise("S5")
async def test_a_gap_that_cannot_be_filled_is_an_event_of_its_own(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Behind the hello; the state is to be read again, and events go on."""
    settings = attrs.evolve(SETTINGS, log_entries=3)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, settings=settings) as world:
            line = Line(world)
            async with (
                line.workspace() as workspace,
                world.visit() as other,
                workspace.lasting_events() as events,
            ):
                await until(events, "hello")
                await line.cut()
                line.up = False
                for number in range(5):
                    await other.create_session(f"{number}")
                line.up = True
                assert [e.type for e in await until(events, "too_old")] == ["hello", "too_old"]
                await other.create_session("Newer")
                assert (await until(events, "session"))[0].payload.title == "Newer"


@pytest.mark.promise("S6")
async def test_the_events_end_with_the_workspace(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It closes with its last client's goodbye, and its id is unknown from then on."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            line = Line(world)
            async with line.workspace() as workspace, workspace.lasting_events() as events:
                await until(events, "hello")
                await world.request("DELETE", f"/v1/clients/{workspace._client['client_id']}")
                with pytest.raises(StopAsyncIteration):
                    await anext(events)
                with pytest.raises(StopAsyncIteration):
                    await events.receive_line()


@pytest.mark.promise("S6")
@pytest.mark.parametrize("stopped", [True, False])
async def test_a_server_that_stays_away_ends_the_events(
    autojump_clock: MockClock, tmp_path: Path, *, stopped: bool
) -> None:
    """After the patience, not before: well if it had ended the stream, else as an error."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            line = Line(world)
            async with line.workspace() as workspace, workspace.lasting_events() as events:
                await until(events, "hello")
                line.up = False
                if stopped:
                    world.host.get(workspace.id).hub.close()
                    await noticed()
                else:
                    await line.cut()
                at, attempts = trio.current_time(), line.attempts
                with pytest.raises(StopAsyncIteration if stopped else ServerUnavailableError):
                    await anext(events)
                assert trio.current_time() - at == pytest.approx(RETURN_TIMEOUT, abs=1)
                assert line.attempts - attempts > 10


async def test_lines_come_across_lost_connections_too(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """As JSON, with whole messages; what nobody knows is passed on as it came."""
    second = trio.Event()
    model = ScriptedModel([Say("One, "), WaitFor(second), Say("two.")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            line = Line(world)
            async with line.workspace() as workspace, workspace.lasting_events() as events:
                session = await workspace.create_session("New Session")
                await session.submit("hello", run_id="r")
                lines = [json.loads(await events.receive_line())]
                while lines[-1]["type"] != "run_complete":
                    lines.append(json.loads(await events.receive_line()))
                    if "One, " in str(lines[-1]) and not second.is_set():
                        await line.cut()
                        second.set()
            types = [each["type"] for each in lines]
            assert types.count("hello") == 2
            assert "message_delta" not in types
            texts = [
                part["data"]["text"]
                for each in lines
                if each["type"] == "message"
                for part in each["payload"]["payload"]["parts"]
                if part["type"] == "text"
            ]
            assert texts[-1] == "One, two."
