"""A simulated world with its HTTP: the whole server, a network in memory, and the real client.

Synopsis::

    async def scenario() -> None:
        async with open_world(scripted_model({"hello": ["hi"]})) as world:
            async with world.visit() as workspace:
                session = await workspace.create_session("main")
                world.network.next(SlowReader(1_000))
                async with workspace.events() as events:
                    assert (await session.prompt("hello")).text == "hi"

    run(scenario, seed=7)

What is simulated and what is not is in ``docs/testing-worlds.md``.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from pathlib import Path

import attrs
import trio

from crush_trio.addresses import Address
from crush_trio.client import Client, WorkspaceClient, open_client
from crush_trio.ids import new_id
from crush_trio.providers.base import Provider
from crush_trio.settings import Settings
from crush_trio.testing.disk import Disks
from crush_trio.testing.faults import Fault, drawn
from crush_trio.testing.model import WatchedModel, scripted_model
from crush_trio.testing.network import Network, open_network
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.program import as_program
from crush_trio.testing.running import sown
from crush_trio.testing.serving import TOKEN, Serving
from crush_trio.testing.trace import Trace
from crush_trio.tools.base import Tool
from crush_trio.tools.scripted import Script, ScriptedShell


class BrokenPromiseError(AssertionError):
    """The monitor of a simulated world has seen a promise broken."""


@attrs.define(eq=False)
class World:
    """A server that can be stopped, killed and started again, and the network to it.

    Attributes:
        place: Its directories.
        model: What answers every prompt.
        shell: What runs every command.
        disks: What survives a restart.
        network: What leads to the server.
        http2: Whether clients speak HTTP/2, if they say nothing else.
        servers: The server's lives, the present one last.
        complaints: What has been seen that must not be; leaving the world raises it.
    """

    place: Place
    settings: Settings
    tools: tuple[Tool, ...]
    model: WatchedModel
    shell: ScriptedShell
    disks: Disks
    network: Network
    http2: bool
    _nursery: trio.Nursery
    servers: list[Serving] = attrs.field(factory=list[Serving], init=False)
    complaints: list[str] = attrs.field(factory=list[str], init=False)

    @property
    def address(self) -> Address:
        """Where clients find the server."""
        return Address("tcp", host=self.network.host, port=self.network.port)

    @property
    def directory(self) -> Path:
        """The directory that visitors work in, if they name no other one."""
        return self.place.directory()

    @property
    def trace(self) -> Trace:
        """What the network has carried so far, byte for byte."""
        return self.network.trace

    # --- the server's lives -------------------------------------------------------------------

    @property
    def server(self) -> Serving:
        """The server as it lives now, or as it was at its end."""
        return self.servers[-1]

    async def start(self) -> None:
        """Start the server, on what the disks hold."""
        serving, started = Serving(self), trio.Event()

        async def live() -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(serving.serve)
                started.set()

        as_program(self._nursery.start_soon, live, name="server")
        await started.wait()
        self.servers.append(serving)

    def begin_stop(self) -> None:
        """Tell the server to stop, as a signal does. Not a checkpoint."""
        self.server.begin_stop()

    async def stop(self) -> None:
        """Stop the server as a signal does, and wait until nothing of it is left."""
        self.begin_stop()
        await self.server.ended.wait()

    def kill(self) -> None:
        """Kill the server as SIGKILL does. Not a checkpoint."""
        self.server.kill()

    async def restart(self) -> None:
        """Stop the server, if it is alive, and start it again."""
        await self.stop()
        await self.start()

    # --- the weather --------------------------------------------------------------------------

    def begin_storm(self, chance: float) -> None:
        """Give connections that no script names a fault from now on. Not a checkpoint.

        Args:
            chance: That one has a fault; the seed chooses which.
        """
        self.network.draw = partial(drawn, random.Random(new_id()), chance)  # noqa: S311  seeded

    def end_storm(self) -> None:
        """Let new connections be good again. Not a checkpoint."""
        self.network.draw = tuple

    # --- clients --------------------------------------------------------------------------------

    @asynccontextmanager
    async def client(
        self,
        *faults: Fault,
        label: str = "",
        http2: bool | None = None,
        client_id: str | None = None,
    ) -> AsyncGenerator[Client]:
        """Open a client with connections of its own.

        Args:
            faults: What is wrong with each of its connections.
            label: What its connections are called.
            http2: Which HTTP it speaks; the world's if None.
            client_id: Names its claims; a new id if None.
        """
        async with open_client(
            self.address,
            token=TOKEN,
            connect=partial(self.network.connect, *faults, label=label),
            client_id=client_id,
            http2=self.http2 if http2 is None else http2,
        ) as client:
            yield client

    @asynccontextmanager
    async def visit(
        self, *faults: Fault, http2: bool | None = None, yolo: bool = False, linger: bool = False
    ) -> AsyncGenerator[WorkspaceClient]:
        """Open a client with the workspace open; the last one to leave closes it.

        Args:
            faults: As for :meth:`client`.
            http2: As for :meth:`client`.
            yolo: Grant all permissions unasked.
            linger: Leave without a goodbye.
        """
        async with (
            self.client(*faults, http2=http2) as client,
            client.open_workspace(str(self.directory), yolo=yolo, linger=linger) as workspace,
        ):
            yield workspace


@asynccontextmanager
async def open_world(
    model: Provider | None = None,
    *,
    commands: Mapping[str, Script] | None = None,
    tools: Sequence[Tool] = (),
    settings: Settings | None = None,
    place: Place | None = None,
    http2: bool = False,
    storm: float = 0.0,
    seed: int | None = None,
) -> AsyncGenerator[World]:
    """Open a world and start its server; leaving the block stops it.

    To be used inside :func:`~crush_trio.testing.running.run`, whose seed decides what happens.

    Args:
        model: What answers; by default one that answers every prompt with its own words.
        commands: What the shell knows.
        tools: What the model may call beside the built-in tools.
        settings: The server's.
        place: Its directories; a world that is given none makes and removes its own.
        http2: Whether clients speak HTTP/2, if they say nothing else.
        storm: The chance with which a connection that no script names has a fault, which the seed
            chooses.
        seed: Decides from here on, in place of the run's.

    Raises:
        BrokenPromiseError: the monitor saw a promise broken.
    """
    with sown(seed), open_place() if place is None else nullcontext(place) as found:
        async with open_network() as network, trio.open_nursery() as nursery:
            watched = WatchedModel(model or scripted_model({}))
            shell = ScriptedShell(commands or {})
            world = World(
                found,
                settings or Settings(),
                tuple(tools),
                watched,
                shell,
                Disks(),
                network,
                http2,
                nursery,
            )
            network.stop_server = world.begin_stop
            if storm:
                world.begin_storm(storm)
            await world.start()
            yield world
            await world.stop()
    if world.complaints:
        raise BrokenPromiseError("\n\n".join(world.complaints))
