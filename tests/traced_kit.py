"""Scenarios over a faulty network whose traces are compared: between runs, and between processes.

As a program it plays all of them in a directory and writes their traces to another one.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from crush_trio.client import EventStream, WorkspaceClient
from crush_trio.errors import ServerUnavailableError
from crush_trio.providers.scripted import Hang, Pause, Say, ScriptedModel
from crush_trio.testing.faults import Cut, Reset, ServerStop, SlowReader
from crush_trio.testing.place import Place, make_place
from crush_trio.testing.running import run
from crush_trio.testing.trace import Trace
from crush_trio.testing.world import World, open_world
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.messages import WireMessage

PATIENCE = 100.0
"""Virtual seconds after which a scenario has failed."""

LONG = " ".join(f"word{number}" for number in range(50))

Scenario = Callable[[World], Awaitable[None]]


class Ear:
    """The events of one stream, as they come."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.done = trio.Event()
        self.done_at = 0.0
        self.ended: str | None = None

    async def listen(self, stream: EventStream) -> None:
        """Read to the end."""
        try:
            async for event in stream:
                self.events.append(event)
                if isinstance(event.payload, RunComplete):
                    self.done_at = trio.current_time()
                    self.done.set()
            self.ended = "properly"
        except ServerUnavailableError:
            self.ended = "cut"


@asynccontextmanager
async def listening(workspace: WorkspaceClient) -> AsyncGenerator[Ear]:
    """Listen to a workspace; leaving the block breaks off."""
    ear = Ear()
    async with workspace.events() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(ear.listen, stream)
        yield ear
        nursery.cancel_scope.cancel("heard enough")


async def a_cancel(world: World) -> None:
    """One client's run hangs, another one cancels it; both and a reader learn of it."""
    async with world.visit() as workspace, world.visit() as other, listening(workspace) as ear:
        session = await workspace.create_session("main")
        outcomes: list[str] = []

        async def ask() -> None:
            outcomes.append((await session.prompt("hang")).outcome)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            receipt = await other.session(session.id).cancel(wait=10)
            assert receipt.settled
        await ear.done.wait()
        assert outcomes == ["cancelled"]


async def a_slow_reader(world: World) -> None:
    """One reader takes 1,000 bytes a second; nobody waits for it, and it gets all there is."""
    world.network.capacity = 4_096
    async with world.visit() as workspace, world.visit(SlowReader(1_000)) as slow:
        session = await workspace.create_session("main")
        async with listening(workspace) as ear, listening(slow) as late:
            assert (await session.prompt("long")).text == LONG
            await ear.done.wait()
            await late.done.wait()
            assert late.done_at > ear.done_at + 1
            for listener in (ear, late):
                assert isinstance(listener.events[-1].payload, RunComplete)


async def a_reset(world: World) -> None:
    """The prompter's connection is reset; its run goes on, and asking again gets its answer."""
    async with world.visit() as workspace, listening(workspace) as ear:
        session = await workspace.create_session("main")
        async with world.client(Reset(after=1.0)) as weak:
            prompter = weak.workspace(workspace.info).session(session.id)
            with pytest.raises(ServerUnavailableError):
                await prompter.prompt("slow", run_id="run-1")
        assert not ear.done.is_set()
        assert (await session.prompt("slow", run_id="run-1")).text == "at last"
        await ear.done.wait()
        assert isinstance(world.model.model, ScriptedModel)
        assert len(world.model.model.requests) == 1


async def a_cut_frame(world: World) -> None:
    """A stream is cut in the middle of a frame; the reader comes back and has missed nothing."""
    async with world.visit() as workspace:
        session = await workspace.create_session("main")
        async with world.client() as reader:
            async with reader.workspace(workspace.info).lasting_events() as events:
                heard = [await anext(events)]
                # Inside the first event that tells of the prompt.
                world.network.connections[-1].suffer(Cut(after=300))
                result = await session.prompt("slow")
                while not isinstance(heard[-1].payload, RunComplete):
                    heard.append(await anext(events))
        assert [event.type for event in heard].count("hello") == 2
        assert heard[-1].payload.text == result.text == "at last"
        told = [event.payload for event in heard if isinstance(event.payload, WireMessage)]
        assert told[0].text == "slow"


async def a_server_stop(world: World) -> None:
    """The server is told to stop while a run hangs: it is answered, and the stream ends properly."""
    async with world.visit() as workspace:
        session = await workspace.create_session("main")
        async with listening(workspace) as ear:
            world.network.connections[-1].suffer(ServerStop(after=1_500))
            assert (await session.prompt("hang")).outcome == "cancelled"
            await world.server.ended.wait()
            await ear.done.wait()
            await trio.sleep(1)
            assert ear.ended == "properly"


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (a_cancel, a_slow_reader, a_reset, a_cut_frame, a_server_stop)
}


def model() -> ScriptedModel:
    """Return what answers in every scenario."""
    answers = {
        "hang": [Say("I begin", pause=0.2), Hang()],
        "long": [Say(LONG, pause=0.01)],
        "slow": [Say("at"), Pause(3), Say(" last")],
    }
    return ScriptedModel(respond=lambda request: answers[request.messages[-1].text])


def trace_of(name: str, place: Place, *, http2: bool, seed: int = 1) -> Trace:
    """Play a scenario and return its trace."""

    async def main() -> Trace:
        with trio.fail_after(PATIENCE):
            async with open_world(model(), place=place, http2=http2) as world:
                await SCENARIOS[name](world)
            return world.trace

    return run(main, seed=seed)


def play_all(place: Place, into: Path) -> None:
    """Play every scenario over both protocols and write the traces."""
    for name in SCENARIOS:
        for http2 in (False, True):
            text = str(trace_of(name, place, http2=http2))
            (into / f"{name}-{'h2' if http2 else 'h1'}").write_text(text)


if __name__ == "__main__":
    play_all(make_place(Path(sys.argv[1])), Path(sys.argv[2]))
