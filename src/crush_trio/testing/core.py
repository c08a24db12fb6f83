"""A simulated world without HTTP: hub, lanes, workspaces, the agent's turns, SQLite in memory.

The cheap world, for exhaustive work. Synopsis::

    async def scenario() -> None:
        async with open_core(scripted_model({"hello": ["hi"]})) as core:
            a = core.client("a")
            await core.done(a.join())
            await core.done(a.create_session("main"))
            post = a.prompt("hello", "run-1")
            assert (await core.done(post)).status == 200

    run(scenario, seed=7)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext

import attrs
import trio

from crush_trio.providers.base import Provider
from crush_trio.runs import Run
from crush_trio.settings import Settings
from crush_trio.testing.clients import LOST, Call, Client, Reply, Stream, Work
from crush_trio.testing.disk import Disks
from crush_trio.testing.life import Life
from crush_trio.testing.model import WatchedModel, scripted_model
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.program import as_program, as_test
from crush_trio.testing.running import sown
from crush_trio.testing.saved import SavedState
from crush_trio.tools.base import Tool
from crush_trio.tools.scripted import Script, ScriptedShell

PATIENCE = 100.0
"""Virtual seconds that a test waits for something before it goes on without."""


@attrs.define(eq=False)
class Core:
    """A world: a server that can be stopped, killed and started again, and its clients.

    Attributes:
        place: Its directories.
        model: What answers every prompt.
        shell: What runs every command.
        disks: What survives a restart.
        saved: What a server saves for the next one; None if it saves nothing.
        remembered: Workspaces that were open before a restart, and have not been asked for since.
        lives: The server's lives, the present one last.
        created: Sessions that somebody has made.
        deleted: Sessions that somebody has deleted.
        background: Commands that may go on when their run has settled.
        complaints: What has been seen that must not be.
        recent: What had passed by when the monitor last saw something wrong.
    """

    place: Place
    settings: Settings
    tools: tuple[Tool, ...]
    model: WatchedModel
    shell: ScriptedShell
    disks: Disks
    _nursery: trio.Nursery
    saved: SavedState | None = None
    remembered: set[str] = attrs.field(factory=set[str])
    lives: list[Life] = attrs.field(factory=list[Life])
    clients: dict[str, Client] = attrs.field(factory=dict[str, Client])
    calls: list[Call] = attrs.field(factory=list[Call])
    created: set[str] = attrs.field(factory=set[str])
    deleted: set[str] = attrs.field(factory=set[str])
    background: frozenset[str] = frozenset()
    gates: dict[str, trio.Event] = attrs.field(factory=dict[str, trio.Event])
    complaints: list[str] = attrs.field(factory=list[str])
    recent: list[str] = attrs.field(factory=list[str])
    _changed: trio.Event = attrs.field(factory=trio.Event)

    # --- the server's lives -------------------------------------------------------------------

    @property
    def life(self) -> Life | None:
        """The life that takes requests now; None while there is no server."""
        life = self.lives[-1] if self.lives else None
        if life is None or life.dead or life.shut:
            return None
        return life

    @property
    def runs(self) -> list[Run]:
        """Every run that was ever accepted, in order."""
        return [run for life in self.lives for run in life.runs]

    @property
    def streams(self) -> list[Stream]:
        """Every stream that was ever asked for."""
        return [stream for client in self.clients.values() for stream in client.streams]

    @property
    def disk_has_failed(self) -> bool:
        """Whether a write has failed."""
        return any(disk.failed for disk in self.disks.all())

    async def start(self) -> None:
        """Start the server, on what the disks hold."""
        life = Life(self)

        async def own() -> None:
            async with trio.open_nursery() as nursery:
                as_program(nursery.start_soon, life.serve, name="server")
            life.ended.set()
            self.pulse()

        self._nursery.start_soon(own)
        await life.started.wait()
        self.lives.append(life)

    async def stop(self) -> None:
        """Stop the server as a signal does, and wait until nothing of it is left."""
        if self.lives:
            self.lives[-1].stop()
            await self.lives[-1].ended.wait()

    async def restart(self) -> None:
        """Stop the server, if it is alive, and start it again."""
        await self.stop()
        await self.start()

    def active(self, session: str) -> Run | None:
        """Return the active run of a session. Not a checkpoint."""
        life = self.lives[-1] if self.lives else None
        return None if life is None else life.active(session)

    # --- clients --------------------------------------------------------------------------------

    def client(self, name: str) -> Client:
        """Return a client by its name."""
        return self.clients.setdefault(name, Client(self, name))

    def call(self, what: str, work: Work) -> Call:
        """Send a request to the server, if there is one. Not a checkpoint."""
        life = self.life
        call = Call(what, life)
        self.calls.append(call)
        if life is None:
            call.end(LOST)
        else:
            as_program(life.start, call, work)
        return call

    async def done(self, call: Call, patience: float = PATIENCE) -> Reply:
        """Wait for a reply; a request that is not answered in time is dropped."""
        await self.until(call.done.is_set, patience)
        if call.reply is None and not (call.life is not None and call.life.dead):
            call.drop()
            await call.done.wait()
        return call.reply or LOST

    def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something of the test's beside the story. Not a checkpoint."""
        as_test(self._nursery.start_soon, work)

    # --- waiting ----------------------------------------------------------------------------------

    def gate(self, name: str) -> trio.Event:
        """Return a gate that a script waits for, by its name."""
        return self.gates.setdefault(name, trio.Event())

    def pulse(self) -> None:
        """Let everybody who waits for something look again. Not a checkpoint."""
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, come: Callable[[], object], patience: float = PATIENCE) -> bool:
        """Wait until something has come, at most ``patience`` seconds; return whether it has."""
        with trio.move_on_after(patience):
            while not come():
                await self._changed.wait()
            await trio.lowlevel.checkpoint()
        return bool(come())

    async def quiet(self, patience: float = 10 * PATIENCE) -> bool:
        """Wait until every prompt is answered and every run has settled, at most ``patience`` seconds."""
        life = self.life
        return life is None or await self.until(lambda: self._settled(life), patience)

    def _settled(self, life: Life) -> bool:
        prompts = (call for client in self.clients.values() for call in client.prompts)
        return not life.unsettled() and (
            life.dead or all(call.done.is_set() for call in prompts if call.life is life)
        )

    def complain(self, what: str) -> None:
        """Note something that must not be. Not a checkpoint."""
        self.complaints.append(what)


@asynccontextmanager
async def open_core(
    model: Provider | None = None,
    *,
    commands: Mapping[str, Script] | None = None,
    tools: Sequence[Tool] = (),
    settings: Settings | None = None,
    place: Place | None = None,
    saves: bool = False,
    seed: int | None = None,
) -> AsyncGenerator[Core]:
    """Open a world and start its server; leaving the block stops it.

    To be used inside :func:`~crush_trio.testing.running.run`, whose seed decides what happens.

    Args:
        model: What answers; by default one that answers every prompt with its own words.
        commands: What the shell knows.
        tools: What the model may call beside the built-in tools.
        settings: The server's.
        place: Its directories; a world that is given none makes and removes its own.
        saves: Save which workspaces are open, so that the next server knows their ids.
        seed: Decides from here on, in place of the run's.
    """
    with sown(seed), open_place() if place is None else nullcontext(place) as found:
        async with trio.open_nursery() as nursery:
            watched = WatchedModel(model or scripted_model({}))
            shell = ScriptedShell(commands or {})
            settings = settings or Settings()
            core = Core(found, settings, tuple(tools), watched, shell, Disks(), nursery)
            core.saved = SavedState() if saves else None
            watched.changed, watched.active = core.pulse, core.active
            await core.start()
            yield core
            await core.stop()
            nursery.cancel_scope.cancel("the world is closed")
