"""``run`` loses its connection to the real server, in virtual time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.cli.interrupts import Interrupts
from crush_trio.cli.output import Output
from crush_trio.cli.prompting import Request, prompt_workspace
from crush_trio.client import open_client
from crush_trio.providers.script import Say, WaitFor
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.wire.runs import RunResult
from people_kit import noticed
from world_kit import SETTINGS, World, open_world


@attrs.define(eq=False)
class Line:
    """A connection that can break."""

    world: World
    streams: list[trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]] = attrs.field(
        factory=list["trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]"]
    )

    async def connect(self) -> trio.abc.Stream:
        stream = await self.world.connect()
        self.streams.append(
            cast("trio.StapledStream[trio.abc.SendStream, trio.abc.ReceiveStream]", stream)
        )
        return stream

    async def cut(self) -> None:
        """Break all connections."""
        for stream in self.streams:
            await trio.aclose_forcefully(stream)
        self.streams.clear()

    async def run(self, request: Request, out: Path) -> RunResult:
        """Do what the command does, over this line."""
        with out.open("wb") as file:
            output = Output(out=file.fileno(), err=io.StringIO(), progress=False)
            interrupts = Interrupts(trio.CancelScope(), output)
            async with open_client(connect=self.connect) as client:
                async with client.open_workspace(request.cwd, linger=True) as workspace:
                    result = await prompt_workspace(workspace, request, output, interrupts)
            await output.flush()
        return result


@pytest.mark.promise("R16")
async def test_a_lost_connection_loses_nothing_of_the_answer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """R2: the run goes on meanwhile. What was missed is printed, what was printed is not again."""
    second = trio.Event()
    model = ScriptedModel([Say("One, "), WaitFor(second), Say("two, "), Say("three.")])
    results: list[RunResult] = []
    with trio.fail_after(4000):
        async with open_world(tmp_path, model) as world, trio.open_nursery() as nursery:
            line = Line(world)

            async def run() -> None:
                request = Request("count", str(world.directory))
                results.append(await line.run(request, tmp_path / "out"))

            nursery.start_soon(run)
            await model.wait_request(1)
            await trio.sleep(3600)  # however long it was there
            assert (tmp_path / "out").read_text() == "One, "
            await line.cut()
            second.set()
        assert (results[0].outcome, results[0].text) == ("completed", "One, two, three.")
        assert (tmp_path / "out").read_text() == "One, two, three."
        assert len(model.requests) == 1


@pytest.mark.promise("S5")
@pytest.mark.parametrize("log_entries", [1000, 3])
async def test_the_state_is_read_again_only_where_the_events_do_not_reach_back(
    autojump_clock: MockClock, tmp_path: Path, log_entries: int
) -> None:
    """Else what was missed comes as events, the end of the run among it."""
    second = trio.Event()
    model = ScriptedModel([Say("One, "), WaitFor(second), Say("two.")])
    settings = attrs.evolve(SETTINGS, log_entries=log_entries)
    results: list[RunResult] = []
    with trio.fail_after(60):
        async with open_world(tmp_path, model, settings=settings) as world:
            line = Line(world)

            async def run() -> None:
                request = Request("count", str(world.directory))
                results.append(await line.run(request, tmp_path / "out"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await model.wait_request(1)
                await trio.sleep(1)
                await line.cut()
                second.set()
                await noticed()
                async with world.visit() as other:
                    for number in range(5):
                        await other.create_session(f"{number}")
            read_again = world.traffic.of("GET", "/messages")
    assert (results[0].outcome, results[0].text) == ("completed", "One, two.")
    assert (tmp_path / "out").read_text() == "One, two."
    assert len(read_again) == (1 if log_entries == 3 else 0)


@pytest.mark.promise("R16")
async def test_a_waiting_prompt_is_joined_and_not_sent_twice(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The store does not have it yet, so it is posted again, and the run id says which one it is."""
    free = trio.Event()
    model = ScriptedModel([Say("Busy."), WaitFor(free)], "Mine.")
    results: list[RunResult] = []
    with trio.fail_after(60):
        async with open_world(tmp_path, model) as world, world.visit() as workspace:
            session = await workspace.create_session("Shared")
            await session.submit("another's", run_id="another")
            await model.wait_request(1)
            line = Line(world)

            async def run() -> None:
                request = Request("mine", str(world.directory), session=session.id)
                results.append(await line.run(request, tmp_path / "out"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await trio.sleep(1)
                assert await session.queue() == ["mine"]
                await line.cut()
                await trio.sleep(1)
                assert await session.queue() == ["mine"]
                free.set()
            asked = [each.text for each in await session.messages() if each.role == "user"]
    assert (results[0].outcome, results[0].text) == ("completed", "Mine.")
    assert asked == ["another's", "mine"]
    assert (tmp_path / "out").read_text() == "Mine."
