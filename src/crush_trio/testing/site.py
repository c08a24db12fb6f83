"""A workspace host behind the real application, its guards and the real listener, without a socket.

Everything between a client's bytes and the host is the program's own: the guarded connections of
HTTP/1.1 and HTTP/2, the application, the token and the allowed names, the two phases of the stop.
Only the :class:`~crush_trio.server.listen.Ground` differs: connections come from memory, and
answers carry no ``Date``, the one thing in them that no seed determines.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import attrs
import trio

from crush_trio.addresses import TOKEN_VARIABLE, Address
from crush_trio.client import Client, open_client
from crush_trio.server.app import make_app
from crush_trio.server.doors import choose_doors
from crush_trio.server.listen import Ground, serve
from crush_trio.server.options import ServeOptions
from crush_trio.settings import Settings
from crush_trio.testing.faults import Fault
from crush_trio.testing.network import Network, open_network
from crush_trio.workspaces import WorkspaceHost

TOKEN = "token-of-a-simulated-server"  # noqa: S105  nobody else can reach it
"""What every client of a simulated server shows."""

SETTINGS = Settings(keep_alive_timeout=86_400.0)
"""The real ones, but that idle connections stay for a day: virtual hours pass in no time."""


@attrs.define(eq=False)
class Site:
    """A server on a simulated network. Use :func:`open_site`.

    Attributes:
        network: What leads to it.
        address: Where clients find it.
        http2: Whether clients speak HTTP/2, if they say nothing else.
        stopped: Set when the server has ended.
    """

    network: Network
    address: Address
    http2: bool = False
    stopped: trio.Event = attrs.field(factory=trio.Event, init=False)
    _stopping: trio.Event = attrs.field(factory=trio.Event, init=False)

    def begin_stop(self) -> None:
        """Tell the server to stop, as a signal does. Not a checkpoint."""
        self._stopping.set()

    async def stop(self) -> None:
        """Stop the server and wait for its end."""
        self.begin_stop()
        await self.stopped.wait()

    @asynccontextmanager
    async def client(
        self, *faults: Fault, http2: bool | None = None, client_id: str | None = None
    ) -> AsyncGenerator[Client]:
        """Open a client.

        Args:
            faults: What is wrong with each of its connections.
            http2: Which HTTP it speaks; the site's if None.
            client_id: Names its claims; a new id if None.
        """
        async with open_client(
            self.address,
            token=TOKEN,
            connect=partial(self.network.connect, *faults),
            client_id=client_id,
            http2=self.http2 if http2 is None else http2,
        ) as client:
            yield client

    async def serve(
        self,
        host: WorkspaceHost,
        settings: Settings,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve a host until the stop; with ``nursery.start``, returns once it listens."""

        async def shutdown() -> None:
            host.begin_closing()
            await host.wait_closed()

        options = ServeOptions(self.address, settings=settings, env={TOKEN_VARIABLE: TOKEN})
        serving = partial(
            serve,
            choose_doors(options).guard(make_app(host, settings)),
            self.address,
            settings=settings,
            stop=self._stopping,
            shutdown=shutdown,
            ground=Ground(self._listen, dated=False),
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(serving)
                task_status.started()
        finally:
            self.stopped.set()

    @asynccontextmanager
    async def _listen(self, address: Address) -> AsyncGenerator[tuple[Any, Address]]:
        async with self.network.listener as listener:
            yield cast("Any", listener), address


@asynccontextmanager
async def open_site(
    host: WorkspaceHost, *, settings: Settings = SETTINGS, http2: bool = False
) -> AsyncGenerator[Site]:
    """Serve a host on a new network; leaving the block stops the server and waits for its end.

    Args:
        host: What is served. The stop closes it.
        settings: The listener's and the application's.
        http2: Whether its clients speak HTTP/2, if they say nothing else.
    """
    async with open_network() as network, trio.open_nursery() as nursery:
        site = Site(network, Address("tcp", host=network.host, port=network.port), http2)
        network.stop_server = site.begin_stop
        await nursery.start(site.serve, host, settings, name="server")
        yield site
        await site.stop()
