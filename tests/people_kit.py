"""People who use a server: clients that prompt, listen and misbehave, and what they may rely on.

A server is :class:`Reachable` through one callable that opens a connection, so the same person
works in memory, over a socket and with a server in another process. Most of what they do goes
through the typed client; :class:`Call` is for what it does not let them do.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import h11
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.client import Client, open_client
from crush_trio.client.events import EventStream
from crush_trio.client.session import SessionClient
from crush_trio.client.workspace import WorkspaceClient
from crush_trio.errors import ServerUnavailableError
from crush_trio.ids import new_id
from crush_trio.wire.events import RunComplete, decode_event
from crush_trio.wire.messages import WireMessage
from history_kit import Heard
from serving_kit import Reply, read_reply, read_until

Connect = Callable[[], Awaitable[trio.abc.Stream]]


@attrs.define(eq=False)
class Reachable:
    """A server as clients reach it.

    Attributes:
        directory: A directory with a ``crush.json``.
        connect: Opens one connection.
    """

    directory: Path
    connect: Connect

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
        *,
        connect: Connect | None = None,
    ) -> AsyncGenerator[Call]:
        """Send one request on a connection of its own, which ends with the block if not before."""
        stream = await (connect or self.connect)()
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


HOLD, GRACE = 30.0, 10.0
"""Seconds (wire contract 7.1)."""


def events_path(workspace: WorkspaceClient) -> str:
    """Return the path of a workspace's events, for a client that nobody knows."""
    return f"/v1{workspace._path}/events?client_id={new_id()}"


def agent_path(session: SessionClient) -> str:
    """Return the path that prompts of a session are posted to."""
    return f"/v1{session._agent_path}"


def is_cancelled(reply: Reply) -> bool:
    """Whether a POST was answered as one whose run was cancelled."""
    return reply.status == 200 and reply.json["cancelled"] and reply.json["outcome"] == "cancelled"


def runs_path(session: SessionClient) -> str:
    """Return the path below which a session's cancel and queue are."""
    return f"/v1{session._runs_path}"


async def create_workspace(server: Reachable, path: str, client: str = "", **more: Any) -> Reply:
    """Create a workspace as a client that does nothing else."""
    body = {"path": path, "client_id": client or new_id(), **more}
    return await server.request("POST", "/v1/workspaces", body)


async def status_of(server: Reachable, workspace_id: str) -> int:
    """Return what is answered of a workspace."""
    return (await server.request("GET", f"/v1/workspaces/{workspace_id}")).status


@attrs.define(eq=False)
class Call:
    """One request that is under way."""

    stream: trio.abc.Stream
    _connection: h11.Connection

    async def head(self) -> bytes:
        """Read up to the end of the answer's head, and with it what came in the same piece."""
        return await read_until(self.stream, b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Read to the end of the connection."""
        return await read_until(self.stream, b"")

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


# --- listening ---------------------------------------------------------------------------------


@attrs.define(eq=False)
class Listener:
    """An event stream that somebody reads.

    Attributes:
        events: What has come.
        ended: Set when the stream is over.
        cut: Whether it ended without a proper end.
    """

    events: list[Heard] = attrs.field(factory=list[Heard])
    ended: trio.Event = attrs.field(factory=trio.Event)
    cut: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def read(self, stream: EventStream) -> None:
        """Read a stream to its end."""
        try:
            async for event in stream:
                if event.type == "hello":  # what else it tells comes as events of their own
                    continue
                self.events.append(Heard(event.type, event.change, event.payload))
                self._changed.set()
                self._changed = trio.Event()
        except ServerUnavailableError:
            self.cut = True
        self.ended.set()

    async def wait(self, matches: Callable[[Heard], bool]) -> Heard:
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
async def listening(workspace: WorkspaceClient, *, plain: bool = False) -> AsyncGenerator[Listener]:
    """Read a workspace's events from the 200 on; leaving the block breaks the stream off.

    Args:
        workspace: Whose events.
        plain: Ask for neither ids nor deltas, as Crush's own clients do.
    """
    listener = Listener()
    async with workspace.events(deltas=not plain) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(listener.read, stream)
        yield listener
        nursery.cancel_scope.cancel("nobody listens any more")


def decoded(body: bytes) -> list[Heard]:
    """Return the events of a stream's body, which must end with a whole one."""
    lines = body.decode().split("\n\n")
    assert lines.pop() == "", "the last event is not whole"
    found = [decode_event(line.removeprefix("data: ")) for line in lines]
    return [Heard(event.type, event.change, event.payload) for event in found if event is not None]


def is_answer(event: Heard) -> bool:
    """Whether an event is a state of an assistant's message."""
    return event.type == "message" and event.payload.role == "assistant"


@attrs.frozen
class Desk:
    """One client at work: a workspace, a session of it, and an ear on its events."""

    workspace: WorkspaceClient
    session: SessionClient
    ear: Listener


@asynccontextmanager
async def desk(
    world: Reachable, *, yolo: bool = False, plain: bool = False
) -> AsyncGenerator[Desk]:
    """Be a client with a new session and an event stream."""
    async with world.visit(yolo=yolo) as workspace:
        session = await workspace.create_session("New Session")
        async with listening(workspace, plain=plain) as ear:
            yield Desk(workspace, session, ear)


async def noticed(cushion: float = 0.0) -> None:
    """Let the server notice what has just happened.

    Args:
        cushion: Real seconds for which nothing may happen; in virtual time none are needed.
    """
    await wait_all_tasks_blocked(cushion)
