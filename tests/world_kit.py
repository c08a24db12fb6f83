"""A whole server in one process, in virtual time or behind real sockets, or in one of its own.

Two worlds, one face. :func:`open_world` runs the real application, the real connections of the
listener and the real store's code over in-memory streams: no thread, no socket, so that a mock
clock may jump. :func:`open_served_world` is the same behind ``server.listen.serve``, with the real
store. The model is scripted in both. :func:`open_server_process` is the command line's server.

What a test sees of the server is what clients see, but for :class:`Traffic`, which tells when the
server has begun or ended a request: that is how a test proves that a client had gone *before* the
run did.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.typing import ASGIFramework
from trio.testing import lockstep_stream_pair, memory_stream_pair

from crush_trio.addresses import Address
from crush_trio.monitor import Monitor
from crush_trio.providers.base import Delta, ModelRequest, Provider
from crush_trio.providers.scripted import Answer, ScriptedModel
from crush_trio.server import listen
from crush_trio.server.app import make_app
from crush_trio.server.guard import GuardedTCPServer, ServerContext
from crush_trio.settings import Settings
from crush_trio.store import Store, open_store
from crush_trio.store.database import WriteConnection, connect_writer
from crush_trio.store.opening import _make_directory, prepare
from crush_trio.store.reads import InlineReads
from crush_trio.store.writer import open_task_writer
from crush_trio.wire.events import Event
from crush_trio.workspaces import Equipment, WorkspaceHost, open_workspace_host
from crush_trio.workspaces.datadir import StoreOpener
from limits_kit import REAL_LIMIT
from monitor_kit import watched
from people_kit import Connect, Reachable
from project_kit import config, connect_to, make_project
from strict_kit import StrictReader

SETTINGS = Settings(
    send_deadline=0.5, drain_timeout=1.0, kill_grace=0.3, keep_alive_timeout=100_000.0
)
"""Short where a test waits in real time. A client cannot see that an idle in-memory connection has
been closed, as it can with a socket; so none is."""

EPOCH = 1_700_000_000
"""Unix seconds at which a world in virtual time begins."""


@asynccontextmanager
async def open_inline_store(
    directory: Path,
    publish: Callable[[Event], None],
    *,
    opened: Callable[[WriteConnection], None] = lambda _: None,
) -> AsyncGenerator[Store]:
    """Open a store in a file without a thread: in virtual time, and there again at the next opening.

    Args:
        directory: As for ``open_store``.
        publish: As for ``open_store``.
        opened: Given the connection, for a test that has something in mind with it.
    """
    _make_directory(directory)
    writing = connect_writer(directory / "crush.db")
    with closing(writing.connection):
        prepare(writing, int(virtual_now()), lambda: False)
        opened(writing)
        async with open_task_writer(writing, publish, virtual_now) as writer:
            yield Store(writer, InlineReads(writing.connection))


def virtual_now() -> float:
    """Return unix seconds on Trio's clock, so that they jump with it."""
    return EPOCH + trio.current_time()


# --- what passes through ------------------------------------------------------------------


@attrs.define(eq=False)
class Exchange:
    """One request that has reached the application, and whether it is done with it."""

    method: str
    path: str
    ended: trio.Event = attrs.field(factory=trio.Event)


class Traffic:
    """ASGI middleware that tells which requests the application works on.

    It also reads every answer as Crush's client would, which is strict.

    Attributes:
        problems: What that client could not read.
        event_types: The types of the events that went out.
    """

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self.problems: list[str] = []
        self.event_types: set[str] = set()
        self._changed = trio.Event()
        self.seen: list[Exchange] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope["method"], scope["path"])
        self.seen.append(exchange)
        self._change()
        reader = StrictReader(scope["method"], scope["path"])

        async def send_and_read(message: Any) -> None:
            await send(message)
            reader.take(message)

        try:
            await self._app(scope, receive, send_and_read)
        finally:
            self.problems += reader.problems
            self.event_types |= reader.types
            exchange.ended.set()
            self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def of(self, method: str, end: str) -> list[Exchange]:
        """Return the requests with a method whose path ends so."""
        return [each for each in self.seen if each.method == method and each.path.endswith(end)]

    async def wait(self, method: str, end: str, number: int = 1) -> Exchange:
        """Wait for the request with this number, counted from 1, and return it."""
        while len(found := self.of(method, end)) < number:
            await self._changed.wait()
        return found[number - 1]


# --- a world -----------------------------------------------------------------------------------


@attrs.define(eq=False)
class World(Reachable):
    """A server in this process.

    Attributes:
        model: What answers every prompt.
        stop: Stops the server as a signal would; returns when it has ended.
        connect_lockstep: Opens a connection that takes nothing that is not being read, in virtual
            time; behind sockets it is just a connection.
        address: Where the server listens, if it does.
    """

    model: Provider
    host: WorkspaceHost
    traffic: Traffic
    stop: Callable[[], Awaitable[None]]
    connect_lockstep: Connect
    address: Address | None = None


class _Endpoint:
    """What the listener's connections ask of a socket's stream, over one side of a memory pair."""

    class socket:  # noqa: N801  the attribute's name
        family = socket.AF_UNIX
        getpeername = getsockname = staticmethod(lambda: "")

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.send_all, self.receive_some = stream.send_all, stream.receive_some
        self.send_eof, self.aclose = stream.send_eof, stream.aclose


@asynccontextmanager
async def open_world(
    tmp_path: Path,
    model: Provider | None = None,
    *,
    settings: Settings = SETTINGS,
    store: StoreOpener = open_inline_store,
    document: object = None,
    equip: Callable[[Equipment], Equipment] = lambda equipment: equipment,
) -> AsyncGenerator[World]:
    """Open a world for virtual time; leaving the block stops its server.

    Args:
        tmp_path: Where the user's home and the project are made.
        model: A new one that says ``ok`` if None.
        settings: The server's.
        store: Opens stores.
        document: The project's ``crush.json``.
        equip: Changes what the server lends its workspaces.
    """
    model = model or ScriptedModel()
    directory, env = make_project(tmp_path, config() if document is None else document)
    context = ServerContext(settings.send_deadline, settings.head_timeout)
    async with (
        _watching() as monitor,
        open_workspace_host(
            equip(Equipment(lambda _: _lend(model), None, settings, virtual_now, observer=monitor)),
            store,
            env,
        ) as host,
        trio.open_nursery() as connections,
    ):
        traffic = Traffic(cast("ASGIFramework", make_app(host, settings)))
        app, listening = ASGIWrapper(cast("ASGIFramework", traffic)), listen._config(settings)

        async def connect(
            pair: Callable[[], tuple[Any, Any]] = memory_stream_pair,
        ) -> trio.abc.Stream:
            ours, theirs = pair()
            endpoint = cast("trio.SocketStream", _Endpoint(theirs))
            server = GuardedTCPServer(app, listening, context, {}, endpoint)
            connections.start_soon(server.run)
            await trio.lowlevel.checkpoint()
            return ours

        async def stop() -> None:
            context.deadlines.begin_closing()
            host.begin_closing()
            await host.wait_closed()
            await context.terminated.set()
            context.deadlines.expire_at(trio.current_time() + settings.drain_timeout)

        lockstep = partial(connect, lockstep_stream_pair)
        yield World(directory, connect, model, host, traffic, stop, lockstep)
        assert traffic.problems == []
        await stop()
        connections.cancel_scope.deadline = trio.current_time() + settings.drain_timeout


@asynccontextmanager
async def open_served_world(
    tmp_path: Path,
    model: Provider | None = None,
    *,
    network: str = "unix",
    settings: Settings = SETTINGS,
    store: StoreOpener = open_store,
    document: object = None,
    open_provider: Callable[[Any], AbstractAsyncContextManager[Provider]] | None = None,
) -> AsyncGenerator[World]:
    """Open a world behind a real socket, with the real store; else as :func:`open_world`.

    Args:
        network: ``unix`` or ``tcp``.
        open_provider: Opens providers, if the model is behind one.
    """
    model = model or ScriptedModel()
    directory, env = make_project(tmp_path, config() if document is None else document)
    stopping, stopped = trio.Event(), trio.Event()

    async def stop() -> None:
        stopping.set()
        await stopped.wait()

    async with (
        _watching() as monitor,
        open_workspace_host(
            Equipment(open_provider or (lambda _: _lend(model)), None, settings, observer=monitor),
            store,
            env,
        ) as host,
        trio.open_nursery() as nursery,
    ):
        traffic = Traffic(cast("ASGIFramework", make_app(host, settings)))

        async def shutdown() -> None:
            host.begin_closing()
            await host.wait_closed()

        async def run(*, task_status: trio.TaskStatus[Address]) -> None:
            app = cast("ASGIFramework", traffic)
            serve = partial(listen.serve, settings=settings, stop=stopping, shutdown=shutdown)
            await serve(app, _place(tmp_path, network), task_status=task_status)
            stopped.set()

        bound: Address = await nursery.start(run)
        connect = partial(connect_to, bound)
        yield World(directory, connect, model, host, traffic, stop, connect, bound)
        assert traffic.problems == []
        with trio.fail_after(REAL_LIMIT):
            await stop()


def _place(tmp_path: Path, network: str) -> Address:
    if network == "tcp":
        return Address("tcp", host="127.0.0.1", port=0)
    return Address("unix", path=str(tmp_path / "s"))


@asynccontextmanager
async def _watching() -> AsyncGenerator[Monitor]:
    with watched() as monitor:
        yield monitor


@asynccontextmanager
async def _lend(model: Provider) -> AsyncGenerator[Provider]:
    yield model


class StubbornModel(ScriptedModel):
    """A model whose connection takes its time to close, and then fails to."""

    def __init__(self, *answers: Answer, seconds: float, title: Answer = "Title") -> None:
        super().__init__(*answers, title=title)
        self.seconds = seconds
        self.closing = trio.Event()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        async with super().stream(request) as deltas:
            try:
                yield deltas
            finally:
                if trio.current_effective_deadline() == -math.inf:  # it is being cancelled
                    self.closing.set()
                    with trio.CancelScope(deadline=trio.current_time() + self.seconds, shield=True):
                        await trio.sleep_forever()
                    raise RuntimeError("the connection cannot be closed")
