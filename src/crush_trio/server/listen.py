"""Serving an ASGI application at an address, until it is told to stop. Knows no route.

Hypercorn's own ``serve`` is not used, only its connections (through :mod:`.guard`). It goes on
accepting until its shutdown trigger returns, so runs would be settled while new clients still get
in, and its connections can be replaced only by patching it. What remains of it is the nursery
below. Rejected: closing its listeners behind its back (Trio's accept loop then fails), and a flag
that refuses requests (the address stays taken, while clients wait for it to become free).
"""

from __future__ import annotations

import logging
import resource
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import AppWrapper, ASGIFramework, LifespanState

from crush_trio.addresses import Address
from crush_trio.server.bind import open_listener
from crush_trio.server.guard import GuardedTCPServer, ServerContext
from crush_trio.server.guard.floods import Allowance
from crush_trio.server.peers import owners, peer_uid
from crush_trio.settings import Settings

logger = logging.getLogger(__name__)

CONCURRENT_STREAMS = 500
"""HTTP/2 streams that one connection may have open; hypercorn's priority tree takes 999."""

COMPLAINTS = 10
"""Refused connections that are logged at once: a log must not grow as fast as somebody can connect."""

COMPLAINTS_REFILL = 1 / 60
"""Lines a second on top of that."""

RESERVE = 256
"""File descriptors that connections leave to the runs: for databases, tools and providers."""


@attrs.frozen
class Ground:
    """What a listener stands on: sockets, or a simulation of them.

    Attributes:
        listen: Listens at an address; yields the listener, and the address that was bound.
        dated: Whether answers carry a ``Date``: no simulation can foresee it.
    """

    listen: Callable[
        [Address], AbstractAsyncContextManager[tuple[trio.abc.Listener[trio.SocketStream], Address]]
    ] = open_listener
    dated: bool = True


async def serve(  # noqa: PLR0913  each is one decision of whoever serves
    app: ASGIFramework,
    address: Address,
    *,
    settings: Settings,
    stop: trio.Event,
    shutdown: Callable[[], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
    uids: frozenset[int] | None = None,
    ground: Ground = Ground(),
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``app`` until ``stop`` is set, then shut down in two phases.

    With ``nursery.start``, returns the address that was bound: port 0 is replaced by the real one.
    Once ``stop`` is set, in this order:

    1. The socket file goes and the listener is closed: nobody new gets in, and another server may
       take the address. Readers that do not read have ``settings.send_deadline`` from here on.
    2. ``shutdown`` is awaited: it settles the runs and ends the event streams. Requests on
       connections that are open already still reach ``app``.
    3. Connections close as soon as they are idle; after ``settings.drain_timeout`` they are cut.

    Args:
        app: What answers.
        address: Where.
        settings: Timeouts.
        stop: Stops the server.
        shutdown: See above.
        tls: Encrypts the connections, of TCP only.
        uids: Who is served on a unix socket; its owner and root if None.
        ground: Where connections come from.
        task_status: Gets the address.

    Raises:
        AddressInUseError: somebody listens at ``address`` already.
        ConfigError: listening there is not possible or not safe.
    """
    wrapped, config = ASGIWrapper(app), _config(settings)
    config.include_date_header = ground.dated
    address = attrs.evolve(address, tls=tls is not None)
    served = owners() if uids is None else uids
    # At DEBUG it writes down each header that it decodes, the token too (A2).
    logging.getLogger("hpack").setLevel(logging.INFO)
    context = ServerContext(settings.send_deadline, settings.head_timeout)
    async with _open_lifespan(wrapped, config) as state, trio.open_nursery() as connections:
        count, room, complaints = 0, _room(), Allowance(COMPLAINTS, COMPLAINTS_REFILL)

        async def converse(stream: trio.SocketStream) -> None:
            nonlocal count
            if address.network == "unix" and not _is_served(stream, served):
                await trio.aclose_forcefully(stream)
                return
            secured = stream if tls is None else trio.SSLStream(stream, tls, server_side=True)
            if count >= room:
                if complaints.spend():
                    logger.warning("%d connections are open: another one is refused", count)
                await trio.aclose_forcefully(stream)
                return
            count += 1
            try:
                await GuardedTCPServer(wrapped, config, context, state, secured).run()
            finally:
                count -= 1

        try:
            async with ground.listen(address) as (listener, bound), trio.open_nursery() as nursery:
                accept = partial(trio.serve_listeners, handler_nursery=connections)
                nursery.start_soon(accept, converse, [listener])
                task_status.started(bound)
                await stop.wait()
                nursery.cancel_scope.cancel("the server stops")
            context.deadlines.begin_closing()
            await shutdown()
            await context.terminated.set()
        except BaseException:
            context.deadlines.expire_at(trio.current_time())  # shielded writes would hold this up
            raise
        end = trio.current_time() + settings.drain_timeout
        context.deadlines.expire_at(end)
        connections.cancel_scope.deadline = end


def _is_served(stream: trio.SocketStream, uids: frozenset[int]) -> bool:
    """Whether a unix connection comes from somebody whom this server serves (A1)."""
    try:
        uid = peer_uid(stream.socket)
    except OSError:  # on macOS, of a peer that has left already
        return False
    if uid is None or uid in uids:
        return True
    logger.warning("user %d is not the owner of this socket: the connection is closed", uid)
    return False


def _room() -> int:
    """Return how many connections may be open at a time, which the process's limit decides."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 2**20
    return max(limit - RESERVE, limit // 2)


def _config(settings: Settings) -> Config:
    """Return hypercorn's settings, where its own would break a promise."""
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("crush_trio.server.hypercorn")
    config.include_server_header = False
    config.keep_alive_timeout = settings.keep_alive_timeout
    config.keep_alive_max_requests = 2**31  # at its limit, event streams on HTTP/2 fall silent
    config.read_timeout = None  # it would count while a stream is being read
    config.h11_max_incomplete_size = settings.head_bytes
    config.h2_max_header_list_size = settings.head_bytes
    config.h2_max_concurrent_streams = CONCURRENT_STREAMS
    return config


@asynccontextmanager
async def _open_lifespan(app: AppWrapper, config: Config) -> AsyncGenerator[LifespanState]:
    """Run the application's start-up and shut-down hooks around the block."""
    state: LifespanState = {}
    lifespan = Lifespan(app, config, state)
    async with trio.open_nursery() as nursery:
        await nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        yield state
        await lifespan.wait_for_shutdown()
        nursery.cancel_scope.cancel("the application has shut down")
