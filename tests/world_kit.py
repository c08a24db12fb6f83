"""A whole server in one process, in virtual time or behind real sockets, and people who use it.

Two worlds, one face. :func:`open_world` runs the real application, the real connections of the
listener and the real store's code over in-memory streams: no thread, no socket, so that a mock
clock may jump. :func:`open_served_world` is the same behind ``server.listen.serve``, with the real
store. The model is scripted in both.

What a test sees of the server is what clients see, but for :class:`Traffic`, which tells when the
server has begun or ended a request: that is how a test proves that a client had gone *before* the
run did.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.typing import ASGIFramework
from trio.testing import lockstep_stream_pair, memory_stream_pair, wait_all_tasks_blocked

from crush_trio.addresses import Address
from crush_trio.client import Client, open_client
from crush_trio.client.events import EventStream
from crush_trio.client.session import SessionClient
from crush_trio.client.workspace import WorkspaceClient
from crush_trio.errors import ServerUnavailableError
from crush_trio.messages import FinishPart
from crush_trio.providers.base import Provider
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server import listen
from crush_trio.server.app import make_app
from crush_trio.server.guard import GuardedTCPServer, ServerContext
from crush_trio.settings import Settings
from crush_trio.store import Store, open_store
from crush_trio.store.database import connect_writer
from crush_trio.store.opening import _never, _prepare
from crush_trio.store.reads import InlineReads
from crush_trio.store.writer import open_task_writer
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.messages import WireMessage, WireToolCallPart, WireToolResultPart
from crush_trio.workspaces import Equipment, WorkspaceHost, open_workspace_host
from crush_trio.workspaces.datadir import StoreOpener
from serving_kit import Reply, read_reply

SETTINGS = Settings(send_deadline=0.5, drain_timeout=1.0, kill_grace=0.3)
"""Short where a test waits in real time."""

EPOCH = 1_700_000_000
"""Unix seconds at which a world in virtual time begins."""


def config(base_url: str = "http://model.invalid/v1", **more: Any) -> dict[str, Any]:
    """Return a ``crush.json`` with one provider called ``scripted``."""
    model = {
        "id": "scripted-1",
        "name": "Scripted",
        "context_window": 100_000,
        "default_max_tokens": 1_000,
    }
    provider = {"type": "openai-compat", "base_url": base_url, "models": [model]}
    return {"providers": {"scripted": provider}, **more}


def write_config(directory: Path, document: object) -> None:
    """Write a project's ``crush.json``; a text is written as it is."""
    text = document if isinstance(document, str) else json.dumps(document)
    (directory / "crush.json").write_text(text)


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a server whose user has nothing configured."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


@asynccontextmanager
async def open_inline_store(
    directory: Path, publish: Callable[[Event], None]
) -> AsyncGenerator[Store]:
    """Open a store in a file without a thread: in virtual time, and there again at the next opening."""
    directory.mkdir(parents=True, exist_ok=True)
    writing = connect_writer(directory / "crush.db")
    with closing(writing.connection):
        _prepare(writing, int(virtual_now()), lambda: False)
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
    """ASGI middleware that tells which requests the application works on."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self._changed = trio.Event()
        self.seen: list[Exchange] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope["method"], scope["path"])
        self.seen.append(exchange)
        self._change()
        try:
            await self._app(scope, receive, send)
        finally:
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
class World:
    """A server, the directory of its first workspace, and the way in.

    Attributes:
        directory: A directory with a ``crush.json``.
        model: What answers every prompt.
        connect: Opens one connection.
        stop: Stops the server as a signal would; returns when it has ended.
        processes: The environment of the server, as workspaces see it.
    """

    directory: Path
    model: Provider
    host: WorkspaceHost
    traffic: Traffic
    connect: Callable[[], Awaitable[trio.abc.Stream]]
    stop: Callable[[], Awaitable[None]]
    context: ServerContext | None = None
    address: Address | None = None

    @asynccontextmanager
    async def client(self, client_id: str | None = None) -> AsyncGenerator[Client]:
        """Open a client."""
        async with open_client(connect=self.connect, client_id=client_id) as client:
            yield client

    @asynccontextmanager
    async def visit(
        self, directory: Path | None = None, *, yolo: bool = False, linger: bool = True
    ) -> AsyncGenerator[WorkspaceClient]:
        """Be a client with the workspace open; by default it leaves without a goodbye."""
        path = str(directory or self.directory)
        async with (
            self.client() as client,
            client.open_workspace(path, yolo=yolo, linger=linger) as workspace,
        ):
            yield workspace

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own and return the whole answer."""
        async with self.call(method, path, body, headers) as call:
            return await call.reply()

    @asynccontextmanager
    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Call]:
        """Send one request on a connection of its own, which ends with the block if not before."""
        stream = await self.connect()
        try:
            yield await _send(stream, method, path, body, headers or {})
        finally:
            await trio.aclose_forcefully(stream)

    def prompt(
        self,
        session: SessionClient,
        text: str,
        *,
        run_id: str = "",
        prefer: str = "",
        agent: str = "",
    ) -> AbstractAsyncContextManager[Call]:
        """Prompt without the client's help: a POST that can be dropped, with any headers."""
        body = {"session_id": session.id, "prompt": text}
        headers = {"Prefer": prefer} if prefer else {}
        headers |= {"User-Agent": agent} if agent else {}
        if run_id:
            body["run_id"] = run_id
        return self.call("POST", agent_path(session), body, headers)


def agent_path(session: SessionClient) -> str:
    """Return the path that prompts of a session are posted to."""
    return f"/v1{session._agent_path}"


@attrs.define(eq=False)
class Call:
    """One request that is under way."""

    stream: trio.abc.Stream
    _connection: h11.Connection

    async def reply(self) -> Reply:
        """Wait for the whole answer.

        Raises:
            h11.RemoteProtocolError: it was cut off.
        """
        return await read_reply(self.stream, self._connection)

    def drop(self) -> None:
        """Break the connection off as a killed client does; over TCP with a reset."""
        if isinstance(self.stream, trio.SocketStream):
            if self.stream.socket.family != socket.AF_UNIX:
                self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.stream.socket.close()
        else:
            memory = cast("trio.StapledStream[Any, Any]", self.stream)
            memory.send_stream.close()
            memory.receive_stream.close()


async def _send(
    stream: trio.abc.Stream, method: str, path: str, body: object, headers: Mapping[str, str]
) -> Call:
    connection = h11.Connection(h11.CLIENT)
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    length = {"Content-Length": str(len(data))} if data or method == "POST" else {}
    head = {"Host": "api.crush.localhost", **length, **headers}
    wire = connection.send(h11.Request(method=method, target=path, headers=list(head.items())))
    wire = (wire or b"") + (connection.send(h11.Data(data=data)) or b"" if data else b"")
    connection.send(h11.EndOfMessage())
    await stream.send_all(wire)
    return Call(stream, connection)


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
) -> AsyncGenerator[World]:
    """Open a world for virtual time; leaving the block stops its server.

    Args:
        tmp_path: Where the user's home and the project are made.
        model: A new one that says ``ok`` if None.
        settings: The server's.
        store: Opens stores.
        document: The project's ``crush.json``.
    """
    model = model or ScriptedModel()
    directory, env = _project(tmp_path, document or config())
    equipment = Equipment(lambda _: _lend(model), None, settings, virtual_now)
    context = ServerContext(settings.send_deadline)
    async with (
        open_workspace_host(equipment, store, env) as host,
        trio.open_nursery() as connections,
    ):
        traffic = Traffic(cast("ASGIFramework", make_app(host, settings)))
        app, listening = ASGIWrapper(cast("ASGIFramework", traffic)), listen._config(settings)

        async def connect(*, lockstep: bool = False) -> trio.abc.Stream:
            ours, theirs = lockstep_stream_pair() if lockstep else memory_stream_pair()
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

        yield World(directory, model, host, traffic, connect, stop, context)
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
    directory, env = _project(tmp_path, document or config())
    equipment = Equipment(open_provider or (lambda _: _lend(model)), None, settings)
    stopping, stopped = trio.Event(), trio.Event()

    async def stop() -> None:
        stopping.set()
        await stopped.wait()

    async with open_workspace_host(equipment, store, env) as host, trio.open_nursery() as nursery:
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
        yield World(
            directory, model, host, traffic, partial(connect_to, bound), stop, address=bound
        )
        with trio.fail_after(10):
            await stop()


def _place(tmp_path: Path, network: str) -> Address:
    if network == "tcp":
        return Address("tcp", host="127.0.0.1", port=0)
    return Address("unix", path=str(tmp_path / "s"))


def _project(tmp_path: Path, document: object) -> tuple[Path, dict[str, str]]:
    directory, home = tmp_path / "project", tmp_path / "home"
    directory.mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    write_config(directory, document)
    return directory, environment(home)


@asynccontextmanager
async def _lend(model: Provider) -> AsyncGenerator[Provider]:
    yield model


async def connect_to(address: Address) -> trio.SocketStream:
    """Open a socket to an address."""
    if address.network == "unix":
        return await trio.open_unix_socket(address.path)
    return await trio.open_tcp_stream(address.host, address.port)


@attrs.frozen
class Desk:
    """One client at work: a workspace, a session of it, and an ear on its events."""

    workspace: WorkspaceClient
    session: SessionClient
    ear: Listener


@asynccontextmanager
async def desk(world: World, *, yolo: bool = False) -> AsyncGenerator[Desk]:
    """Be a client with a new session and an event stream."""
    async with world.visit(yolo=yolo) as workspace:
        session = await workspace.create_session("New Session")
        async with listening(workspace) as ear:
            yield Desk(workspace, session, ear)


async def noticed() -> None:
    """Let the server notice what has just happened to an in-memory connection."""
    await wait_all_tasks_blocked()


# --- people ----------------------------------------------------------------------------------


@attrs.define(eq=False)
class Listener:
    """An event stream that somebody reads.

    Attributes:
        events: What has come.
        ended: Set when the stream is over.
        cut: Whether it ended without a proper end.
    """

    events: list[Event] = attrs.field(factory=list[Event])
    ended: trio.Event = attrs.field(factory=trio.Event)
    cut: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def read(self, stream: EventStream) -> None:
        """Read a stream to its end."""
        try:
            async for event in stream:
                self.events.append(event)
                self._changed.set()
                self._changed = trio.Event()
        except ServerUnavailableError:
            self.cut = True
        self.ended.set()

    async def wait(self, matches: Callable[[Event], bool]) -> Event:
        """Wait for the first event that matches, from the beginning."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if matches(event):
                    return event
            seen = len(self.events)
            await self._changed.wait()

    async def wait_text(self, text: str) -> WireMessage:
        """Wait until an answer holds a text."""
        event = await self.wait(lambda event: is_answer(event) and text in event.payload.text)
        return event.payload

    async def wait_complete(self, run_id: str = "", number: int = 1) -> RunComplete:
        """Wait for the end of a run, or for that of the run with this number."""
        await self.wait(lambda _: len(self.completions(run_id)) >= number)
        return self.completions(run_id)[number - 1]

    def of(self, type_: str) -> list[Any]:
        """Return the payloads of one type."""
        return [event.payload for event in self.events if event.type == type_]

    def completions(self, run_id: str = "") -> list[RunComplete]:
        """Return the ends of runs."""
        return [done for done in self.of("run_complete") if run_id in {"", done.run_id}]


@asynccontextmanager
async def listening(workspace: WorkspaceClient) -> AsyncGenerator[Listener]:
    """Read a workspace's events from the 200 on; leaving the block breaks the stream off."""
    listener = Listener()
    async with workspace.events() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(listener.read, stream)
        yield listener
        nursery.cancel_scope.cancel("nobody listens any more")


def is_answer(event: Event) -> Any:
    """Whether an event is a state of an assistant's message."""
    return event.type == "message" and event.payload.role == "assistant"


def finish_of(message: WireMessage) -> str:
    """Return the reason that a message finished with; empty for one that has not."""
    return next((part.data.reason for part in message.parts if isinstance(part, FinishPart)), "")


def told(messages: list[WireMessage]) -> list[str]:
    """Return messages as short texts: ``role reason text``."""
    return [" ".join(filter(None, (m.role, finish_of(m), m.text))) for m in messages]


# --- what must hold ----------------------------------------------------------------------------


def check_stream(events: list[Event]) -> None:
    """Check what holds for every stream, whatever happened (S4, R8)."""
    known: set[str] = set()
    complete: set[tuple[str, str]] = set()
    of_session: dict[str, set[str]] = {}
    over: set[str] = set()
    for event in events:
        if event.type == "message":
            identity = event.payload.id
            if event.change == "created":
                assert identity not in known, f"{identity} was created twice"
                known.add(identity)
                of_session.setdefault(event.payload.session_id, set()).add(identity)
            assert identity not in over, f"{identity} was said after its run's end"
        elif event.type == "run_complete":
            done = (event.payload.session_id, event.payload.run_id)
            assert done not in complete, f"run {done} ended twice"
            complete.add(done)
            if event.payload.message_id:  # a prompt that only waited ends beside the active run
                over |= of_session.get(event.payload.session_id, set())


def check_history(messages: list[WireMessage]) -> None:
    """Check that a stored conversation is one that a strict provider takes (R9)."""
    calls: list[str] = []
    results: list[str] = []
    for message in messages:
        if message.role == "assistant":
            assert finish_of(message), f"message {message.id} has no finish"
        for part in message.parts:
            if isinstance(part, WireToolCallPart):
                assert part.data.finished, f"call {part.data.id} is unfinished"
                calls.append(part.data.id)
            elif isinstance(part, WireToolResultPart):
                results.append(part.data.tool_call_id)
    assert sorted(calls) == sorted(results)


@asynccontextmanager
async def server_process(
    address: Address | str, home: Path, *, arguments: tuple[str, ...] = ()
) -> AsyncGenerator[trio.Process]:
    """Run ``crush-trio serve`` as a process of its own, from the moment when it answers.

    Leaving the block kills it, if it still runs.
    """
    command = [sys.executable, "-m", "crush_trio", "serve", "--host", str(address), *arguments]
    process = await trio.lowlevel.open_process(command, env=environment(home))
    try:
        yield process
    finally:
        with trio.move_on_after(5, shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
