"""A twin of the server for tests of what talks to one: few routes, all state in the open.

Its event log and its permission gate are the real ones, and so is hypercorn below it, which serves
in-memory streams (``Twin.connect``) or a socket (``Twin.serve_socket``).
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from urllib.parse import parse_qsl

import attrs
import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from trio.testing import memory_stream_pair

from crush_trio.hub import Hub
from crush_trio.ids import new_id
from crush_trio.messages import Finish, FinishPart, Text, TextPart
from crush_trio.permissions import Permissions
from crush_trio.questions import Questions
from crush_trio.wire.config import Config, Model, Options, ProviderConfig, SelectedModel
from crush_trio.wire.events import Change, Event, RunComplete, run_complete_event
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import PermissionGrant, Resolved
from crush_trio.wire.questions import QuestionAnswer
from crush_trio.wire.runs import (
    AgentInfo,
    AgentMessage,
    AgentSession,
    CancelReceipt,
    CoveredRun,
    RunAccepted,
)
from crush_trio.wire.sessions import Session
from crush_trio.wire.workspaces import CreateWorkspace, ErrorBody, Workspace

Reply = tuple[int, msgspec.Struct]


async def _let_go(_: AgentMessage) -> None:
    """Answer a prompt at once."""
    await trio.lowlevel.checkpoint()


@attrs.frozen
class Seen:
    """One request that the twin got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def segments(self) -> list[str]:
        """The path without its version, in pieces."""
        return self.path.removeprefix("/v1/").split("/")


@attrs.define(eq=False)
class Twin:
    """What the twin has and has seen. Change it at will, before or between requests."""

    nursery: trio.Nursery
    hub: Hub = attrs.field(factory=Hub)
    seen: list[Seen] = attrs.field(factory=list[Seen])
    prompts: list[AgentMessage] = attrs.field(factory=list[AgentMessage])
    sessions: dict[str, Session] = attrs.field(factory=dict[str, Session])
    messages: dict[str, list[WireMessage]] = attrs.field(factory=dict[str, list[WireMessage]])
    busy: bool = False
    ready: bool = True
    model: SelectedModel = attrs.field(factory=lambda: SelectedModel("big", "acme"))
    on_prompt: Callable[[AgentMessage], Reply | None] = lambda _: None
    hold_prompt: Callable[[AgentMessage], Awaitable[None]] = _let_go
    on_cancel: Callable[[str], None] = lambda _: None
    connections: list[trio.CancelScope] = attrs.field(factory=list[trio.CancelScope])
    permissions: Permissions = attrs.field(init=False)
    questions: Questions = attrs.field(init=False)
    workspace_id: str = attrs.field(factory=new_id)
    path: str = "/work"

    def __attrs_post_init__(self) -> None:
        self.permissions = Permissions(self.hub.publish)
        self.questions = Questions(self.hub.publish)

    @property
    def workspace(self) -> Workspace:
        """The workspace as the wire has it."""
        providers = (
            {"acme": ProviderConfig(id="acme", models=(Model(id="big"), Model(id="small")))}
            if self.ready
            else {}
        )
        models = {"large": self.model} if self.ready else {}
        config = Config(models=models, providers=providers, options=Options())
        return Workspace(id=self.workspace_id, path=self.path, config=config)

    # --- what a test lets happen -----------------------------------------------------------

    def add_session(self, title: str = "New Session", **fields: Any) -> Session:
        """Store a session."""
        session = Session(id=new_id(), title=title, **fields)
        self.sessions[session.id] = session
        self.messages[session.id] = []
        return session

    def say(
        self,
        session_id: str,
        role: str,
        text: str,
        *,
        message_id: str | None = None,
        finish: str | None = None,
    ) -> str:
        """Store a message, or a newer state of one, and publish it. Returns its id."""
        parts: tuple[Any, ...] = (TextPart(Text(text)),) if text else ()
        if finish is not None:
            parts = (*parts, FinishPart(Finish(cast("Any", finish))))
        message = WireMessage(parts, message_id or new_id(), role, session_id)
        stored = self.messages.setdefault(session_id, [])
        change: Change = "created" if message_id is None else "updated"
        self.messages[session_id] = [m for m in stored if m.id != message.id] + [message]
        self.hub.publish(Event("message", change, message))
        return message.id

    def complete(self, prompt: AgentMessage, **fields: Any) -> None:
        """Publish the end of a prompt's run."""
        done = RunComplete(prompt.session_id, prompt.run_id, **fields)
        self.hub.publish(run_complete_event(done))

    def cut(self) -> None:
        """Break every connection off."""
        for scope in self.connections:
            scope.cancel("cut by the test")

    def end_streams(self) -> None:
        """End every event stream properly; later ones see a new log."""
        self.hub.close()
        self.hub = Hub()

    # --- how it is reached -------------------------------------------------------------------

    async def connect(self) -> trio.abc.Stream:
        """Open an in-memory connection."""
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, _Endpoint(theirs))
        await trio.lowlevel.checkpoint()
        return ours

    async def serve_socket(self, listener: trio.SocketListener) -> None:
        """Serve a listening socket until cancelled."""
        await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, stream: Any) -> None:
        config = HypercornConfig()
        config.errorlog = None
        server = TCPServer(ASGIWrapper(_App(self)), config, WorkerContext(None), {}, stream)
        with trio.CancelScope() as scope:
            self.connections.append(scope)
            await server.run()


class _Endpoint:
    """What hypercorn asks of a stream, over one side of a memory pair."""

    class socket:  # noqa: N801  the attribute's name
        family = socket.AF_UNIX
        getpeername = getsockname = staticmethod(lambda: "")

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.send_all, self.receive_some = stream.send_all, stream.receive_some
        self.send_eof, self.aclose = stream.send_eof, stream.aclose


@asynccontextmanager
async def open_twin() -> AsyncGenerator[Twin]:
    """Open a twin; leaving the block breaks its connections off."""
    async with trio.open_nursery() as nursery:
        yield Twin(nursery)
        nursery.cancel_scope.cancel("the test is over")


class _App:
    """The twin as an ASGI application."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request, gone = await _read(scope, receive)
        self._twin.seen.append(request)
        match request.segments:
            case ["workspaces", known, "events"] if known == self._twin.workspace_id:
                await _stream(self._twin, receive, send)
            case _ if not gone:
                status, body = _answer(self._twin, request)
                if status == 202:
                    await self._twin.hold_prompt(self._twin.prompts[-1])
                await _send(
                    send, status, b"" if body is None else msgspec.json.encode(body) + b"\n"
                )
            case _:
                pass


async def _read(scope: Any, receive: Any) -> tuple[Seen, bool]:
    body, more, gone = b"", True, False
    while more and not gone:
        event = await receive()
        gone = event["type"] == "http.disconnect"
        body, more = body + event.get("body", b""), event.get("more_body", False)
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    query = dict(parse_qsl(scope["query_string"].decode()))
    return Seen(scope["method"], scope["path"], query, headers, body), gone


async def _send(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _stream(twin: Twin, receive: Any, send: Any) -> None:
    async def watch(scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel("the reader left")

    # Subscribed before the 200 goes out, else events could be missed (S1).
    with twin.hub.subscribe(twin.permissions.open_events()) as subscription:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, nursery.cancel_scope)
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            with suppress(trio.EndOfChannel):
                while True:
                    chunk = await subscription.receive_chunk()
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            nursery.cancel_scope.cancel("the stream has ended")


def _answer(twin: Twin, request: Seen) -> tuple[int, object]:
    match request.method, request.segments:
        case method, ["workspaces", known, *rest]:
            if known != twin.workspace_id:
                return 404, ErrorBody("workspace not found")
            return _answer_workspace(twin, method, rest, request.body)
        case "GET", ["workspaces"]:
            return 200, [twin.workspace]
        case "POST", ["workspaces"]:
            twin.path = msgspec.json.decode(request.body, type=CreateWorkspace).path
            return 200, twin.workspace
        case _:
            return 200, None


def _answer_workspace(twin: Twin, method: str, rest: list[str], body: bytes) -> tuple[int, object]:
    match method, rest:
        case "DELETE", []:
            return 200, None
        case "GET", ["config"]:
            return 200, twin.workspace.config
        case "POST", ["agent", "update"]:
            return 200, None
        case _, ["sessions", *rest]:
            return _answer_session(twin, method, rest, body)
        case _:
            return _answer_agent(twin, method, rest, body)


def _answer_session(twin: Twin, method: str, rest: list[str], body: bytes) -> tuple[int, object]:
    match method, rest:
        case "GET", []:
            return 200, sorted(twin.sessions.values(), key=lambda session: -session.updated_at)
        case "POST", []:
            return 200, twin.add_session(msgspec.json.decode(body, type=Session).title)
        case "GET", [sid] if sid in twin.sessions:
            return 200, twin.sessions[sid]
        case "GET", [sid]:
            return 400, ErrorBody(f"session {sid!r} is not in this workspace")
        case "GET", [sid, "messages"]:
            return 200, twin.messages.get(sid, [])
        case _:
            return 404, ErrorBody("404 page not found")


def _answer_agent(twin: Twin, method: str, rest: list[str], body: bytes) -> tuple[int, object]:
    match method, rest:
        case "GET", ["agent"]:
            model = twin.model if twin.ready else SelectedModel("", "")
            return 200, AgentInfo(is_busy=twin.busy, is_ready=twin.ready, model_cfg=model)
        case "POST", ["agent"]:
            prompt = msgspec.json.decode(body, type=AgentMessage)
            twin.prompts.append(prompt)
            accepted = RunAccepted(prompt.run_id or new_id(), prompt.session_id)
            return twin.on_prompt(prompt) or (202, accepted)
        case "GET", ["agent", "sessions", sid]:
            return 200, AgentSession(sid, is_busy=twin.busy)
        case "POST", ["agent", "sessions", sid, "cancel"]:
            twin.on_cancel(sid)
            mine = [prompt for prompt in twin.prompts if prompt.session_id == sid]
            covered = tuple(CoveredRun(prompt.run_id, None) for prompt in mine)
            return 200, CancelReceipt(covered, settled=False)
        case "POST", ["permissions" | "questions", _]:
            return _answer_people(twin, rest, body)
        case _:
            return 404, ErrorBody("404 page not found")


def _answer_people(twin: Twin, rest: list[str], body: bytes) -> tuple[int, object]:
    match rest:
        case ["permissions", "grant"]:
            grant = msgspec.json.decode(body, type=PermissionGrant)
            request_id = grant.permission.id if grant.permission is not None else ""
            return 200, Resolved(twin.permissions.answer(request_id, cast("Any", grant.action)))
        case ["questions", "answer"]:
            given = msgspec.json.decode(body, type=QuestionAnswer)
            resolved = twin.questions.answer(given.responses or (), given.batch_request_id)
            return 200, Resolved(resolved)
        case _:
            return 200, Resolved(twin.questions.refuse())
