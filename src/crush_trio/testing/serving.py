"""One life of a simulated server that speaks HTTP: from its start to its stop, or to its death.

Everything between a client's bytes and the workspaces is the program's own: the guarded connections
of HTTP/1.1 and HTTP/2, the application, the token and the allowed names, the two phases of the stop.
Only the :class:`~crush_trio.server.listen.Ground` differs: connections come from memory, and
answers carry no ``Date``, the one thing in them that no seed determines.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import attrs
import trio

from crush_trio.addresses import TOKEN_VARIABLE, Address
from crush_trio.config import Endpoint
from crush_trio.monitor import Monitor, Violation
from crush_trio.providers.base import Provider
from crush_trio.server.app import make_app
from crush_trio.server.doors import choose_doors
from crush_trio.server.listen import Ground, serve
from crush_trio.server.options import ServeOptions
from crush_trio.testing.running import virtual_now
from crush_trio.workspaces import Equipment, WorkspaceHost, open_workspace_host

if TYPE_CHECKING:
    from crush_trio.testing.world import World

TOKEN = "token-of-a-simulated-server"  # noqa: S105  nobody else can reach it
"""What every client of a simulated server shows."""


@attrs.define(eq=False)
class Serving:
    """A running server behind the network of a world.

    Attributes:
        host: Its workspaces.
        dead: It has been killed: nothing that it still does is seen by anybody.
        ended: Set when nothing of it is left.
    """

    world: World
    host: WorkspaceHost = attrs.field(init=False)
    dead: bool = attrs.field(default=False, init=False)
    ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the server until it is told to stop, or killed; started once it listens."""
        world = self.world
        equipment = Equipment(
            self._open_provider,
            None,
            world.settings,
            virtual_now,
            world.shell,
            world.place.read_config,
            world.tools,
            Monitor(self._report),
        )
        try:
            with self._scope:
                async with (
                    open_workspace_host(
                        equipment, world.disks.open_store, world.place.env
                    ) as self.host,
                    trio.open_nursery() as nursery,
                ):
                    await nursery.start(self._listening())
                    task_status.started()
        finally:
            self.ended.set()

    def _listening(self) -> partial[Any]:
        world = self.world
        options = ServeOptions(world.address, settings=world.settings, env={TOKEN_VARIABLE: TOKEN})
        return partial(
            serve,
            choose_doors(options).guard(make_app(self.host, world.settings)),
            world.address,
            settings=world.settings,
            stop=self._stopping,
            shutdown=self._shut_down,
            ground=Ground(self._listen, dated=False),
        )

    @asynccontextmanager
    async def _listen(self, address: Address) -> AsyncGenerator[tuple[Any, Address]]:
        async with self.world.network.listen() as listener:
            yield cast("Any", listener), address

    @asynccontextmanager
    async def _open_provider(self, _: Endpoint) -> AsyncGenerator[Provider]:
        yield self.world.model

    def _report(self, violation: Violation, recent: Sequence[str]) -> None:
        """Take up what the monitor has found; a dead process breaks no promise any more."""
        if not self.dead:
            self.world.complaints.append("\n".join([f"the monitor saw {violation}", *recent]))

    async def _shut_down(self) -> None:
        self.host.begin_closing()
        await self.host.wait_closed()

    @property
    def stopping(self) -> bool:
        """Whether it has been told to stop, or killed."""
        return self.dead or self._stopping.is_set()

    def begin_stop(self) -> None:
        """Begin to stop, as a signal does. Not a checkpoint."""
        self._stopping.set()

    def kill(self) -> None:
        """Die: connections close, what is committed stays, the rest is gone. Not a checkpoint."""
        if not self.dead and not self.ended.is_set():
            self.dead = True
            self.world.network.close_servers()
            for disk in self.world.disks.all():
                disk.crash()
            self._scope.cancel("killed")
