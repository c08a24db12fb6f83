"""A twin of Crush's terminal client: it asks as that does, and draws what that would draw.

What it asks, and when, is wire contract 11.2 to 11.4 and 4.10; what it makes of each event 5.10; how
it comes back to a lost stream 5.8. It decodes strictly (13). What the real one shows in its status
line is in :attr:`Terminal.errors`, and a stream that ended without a proper end leaves it spinning
for ever, as the real one (5.3).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import h11
import trio
import trio.testing

from crush_trio.ids import new_id
from crush_trio.wire.sse import SSEReader
from people_kit import Reachable
from strict_kit import event_problems, reply_problems

GO = {"User-Agent": "Go-http-client/1.1"}
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between two tries to get a stream back (wire contract 5.8)."""

POLL = 0.5
"""Seconds after which its idea of what is busy is too old (wire contract 11.4)."""

LOOP = 3_000
"""Requests that no test makes by far: a client that makes them answers its own echo (4.10)."""

Data = dict[str, Any]


@attrs.define(eq=False)
class Chat:
    """The messages of the open session as they are drawn."""

    items: dict[str, Data] = attrs.field(factory=dict[str, Data])
    results: dict[str, Data] = attrs.field(factory=dict[str, Data])
    asked: dict[str, str] = attrs.field(factory=dict[str, str])

    def add(self, message: Data) -> None:
        """Take a new message: a prompt, an answer, or the results of shown calls."""
        parts = _parts(message)
        if message["role"] == "tool":
            shown = {call["id"] for item in self.items.values() for call in _of(item, "tool_call")}
            for result in (data for kind, data in parts if kind == "tool_result"):
                if result["tool_call_id"] in shown:
                    self.results[result["tool_call_id"]] = result
        elif message["id"] not in self.items and not _of(message, "shell_command"):
            self.items[message["id"]] = message

    def change(self, message: Data) -> None:
        """Take a newer state; of what was never added nothing is drawn."""
        if message["id"] in self.items:
            self.items[message["id"]] = message

    def lines(self) -> list[str]:
        """Return what is on the screen."""
        return [line for item in self.items.values() for line in self._draw(item)]

    def _draw(self, message: Data) -> list[str]:
        texts = [data["text"] for data in _of(message, "text")]
        if message["role"] == "user":
            return [f"> {text}" for text in texts]
        thoughts = [f"~ {data['thinking']}" for data in _of(message, "reasoning")]
        calls = [self._draw_call(call) for call in _of(message, "tool_call")]
        finish = next(iter(_of(message, "finish")), {"reason": ""})
        footer = {
            "end_turn": ["--"],
            "canceled": ["-- Canceled"],
            "error": [f"-- {finish.get('message')}: {finish.get('details')}"],
        }
        return [*thoughts, *texts, *calls, *footer.get(finish["reason"], [])]

    def _draw_call(self, call: Data) -> str:
        result = self.results.get(call["id"])
        if result is None:
            state = self.asked.get(call["id"], "") if call.get("finished") else "pending"
            return f"* {call['name']} {state}".rstrip()
        kind = "failed" if result["is_error"] else "done"
        return f"* {call['name']} {kind}: {result['content']}"


def _parts(message: Data) -> list[tuple[str, Data]]:
    return [(part["type"], part["data"]) for part in message["parts"]]


def _of(message: Data, kind: str) -> list[Data]:
    return [data for each, data in _parts(message) if each == kind]


@attrs.define(eq=False)
class Terminal:
    """One terminal client and its screen.

    Attributes:
        errors: What it showed in its status line, and what it could not have read.
        dialog: The open permission request.
        form: The open questions.
        busy: Whether it shows that the agent works.
        queue: The prompts that it shows as queued.
        degraded: Whether it says that it lost the server.
        losses: How often that was said.
        paused: If set to an event, it is suspended until that is set: it reads and asks nothing.
        spinning: Why it will never come back, if so.
        sent: Prompts that must come to be drawn in the open session.
        loads: How often a session has been loaded.
        asking: Requests that have not been answered yet.
        gone: Whether its user has quit: what is answered then is shown to nobody.
        noted: Titles of the desktop notifications for finished turns.
    """

    server: Reachable
    nursery: trio.Nursery
    path: str
    client_id: str = attrs.field(factory=new_id)
    version: str = "0.90.0"
    yolo: bool = False
    workspace: Data = attrs.field(factory=dict[str, Any])
    session: Data | None = None
    chat: Chat = attrs.field(factory=Chat)
    files: list[Data] = attrs.field(factory=list[Data])
    dialog: Data | None = None
    form: Data | None = None
    busy: bool = False
    queue: list[str] = attrs.field(factory=list[str])
    skip: bool = False
    model: str = ""
    degraded: bool = False
    losses: int = 0
    spinning: str = ""
    armed: bool = False
    errors: list[str] = attrs.field(factory=list[str])
    noted: list[str] = attrs.field(factory=list[str])
    asked: Counter[str] = attrs.field(factory=Counter[str])
    events: list[Data] = attrs.field(factory=list[Data])
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    paused: trio.Event | None = None
    sent: list[str] = attrs.field(factory=list[str])
    loads: int = 0
    asking: int = 0
    gone: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    # --- asking

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send one request below the workspace; return what came, None for an error."""
        return await self.ask_for(method, f"/v1/workspaces/{self.workspace['id']}{path}", body)

    async def ask_for(self, method: str, path: str, body: object = None) -> Any:
        """Send one request; an error is what the status line says then."""
        plain = path.partition("?")[0]
        self.asked[f"{method} {plain.rpartition('/')[2]}"] += 1
        assert self.asked.total() < LOOP, f"it answers its own echo: {self.asked}"
        self.asking += 1
        try:
            reply = await self.server.request(method, path, body, GO)
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            if not self.degraded and self._looks_at(path):
                self.errors.append(f"{method} {plain}: {error!r}")
            return None
        finally:
            self.asking -= 1
            self._change()
        if not self._looks_at(path):
            return None
        self.errors += reply_problems(method, plain, reply.status, reply.body)
        if reply.status not in {200, 202}:
            self.errors.append(f"{method} {plain}: {reply.status} {reply.body!r}")
            return None
        return json.loads(reply.body) if reply.body else None

    def _looks_at(self, path: str) -> bool:
        """Return whether it takes what is answered: who has quit only says goodbye."""
        return not self.gone or path.startswith("/v1/clients/")

    @property
    def _sid(self) -> str:
        assert self.session is not None
        return self.session["id"]

    # --- starting, loading, leaving

    async def start(self) -> None:
        """Do what it does before and with its first frame (11.2)."""
        await self._create()
        self.skip = (await self.ask("GET", "/permissions/skip"))["skip"]
        await self.refresh()
        assert await self.ask("GET", "/project/needs-init") == {"needs_init": False}
        listening = trio.Event()
        self.nursery.start_soon(self._live, listening)
        for path in ("/skills", "/messages/user", "/lsps", "/mcp/states", "/mcp/pending-auth"):
            self.nursery.start_soon(self.ask, "GET", path)
        self.nursery.start_soon(self.refresh)
        await listening.wait()

    async def _create(self) -> bool:
        body = {"id": "", "path": self.path, "version": self.version, "client_id": self.client_id}
        more = {key: self.workspace[key] for key in ("data_dir",) if key in self.workspace}
        env = ["TERM=xterm-256color"]
        created = await self.ask_for("POST", "/v1/workspaces", body | more | {"env": env})
        if created is None:
            return False
        self._adopt(created)
        if any(not each.get("disable") for each in created["config"]["providers"].values()):
            await self.ask("POST", "/agent/init", {"interactive": True})
        return True

    def _adopt(self, workspace: Data) -> None:
        """Take what the client cannot live without (11.6); a KeyError is its crash."""
        config = workspace["config"]
        assert isinstance(config["options"]["tui"], dict)
        assert isinstance(config["options"]["data_directory"], str)
        assert isinstance(config["providers"], dict)
        self.workspace = workspace

    async def load(self, session_id: str) -> None:
        """Open a session (11.3)."""
        if self.session is not None and self._sid != session_id:
            self.sent = []
        self.nursery.start_soon(self._show, session_id)
        self.session = await self.ask("GET", f"/sessions/{session_id}") or self.session
        await self._read_files()
        await self.ask("GET", f"/sessions/{session_id}/filetracker/files")
        await self._refresh_all()
        messages: list[Data] = await self.ask("GET", f"/sessions/{session_id}/messages") or []
        self.chat, before = Chat(), self.chat
        for message in messages:
            self.chat.add(message)
        self.chat.asked = {key: state for key, state in before.asked.items() if state}
        await self.ask("GET", f"/sessions/{session_id}/messages/user")
        self.loads += 1
        self._change()

    async def _show(self, session_id: str) -> None:
        """Say which session is on the screen; what is answered is only logged."""
        path = f"/v1/workspaces/{self.workspace['id']}/current-session?client_id={self.client_id}"
        await self.server.request("POST", path, {"session_id": session_id}, GO)

    async def leave_session(self) -> None:
        """Go to the landing page."""
        await self.ask("POST", "/lsps/stop")
        await self._show("")
        self.session, self.chat, self.sent = None, Chat(), []
        self._change()
        await self.ask("GET", "/messages/user")

    async def leave(self) -> None:
        """Quit: end the stream and say goodbye (11.4)."""
        self.gone = True
        self.scope.cancel("the terminal is closed")
        await self.ask_for("DELETE", f"/v1/clients/{self.client_id}")

    # --- what its user does

    async def send(self, text: str) -> None:
        """Send a prompt; the first one makes a session (11.4)."""
        await self.refresh()
        if self.session is None:
            body = {"id": "", "title": "New Session"}
            self.session = await self.ask("POST", "/sessions", body)
            await self.load(self._sid)
        self.sent.append(text)
        await self.ask("POST", "/agent", {"session_id": self._sid, "prompt": text})
        await self._refresh_all()

    async def press_escape(self) -> None:
        """Press Esc: it clears the queue, or arms the cancel, or cancels."""
        path = f"/agent/sessions/{self._sid}"
        if self.queue and not self.armed:
            await self.ask("POST", f"{path}/prompts/clear")
            self.sent = [text for text in self.sent if text not in self.queue]
            self.queue = []
        elif self.busy and self.armed:
            self.armed = False
            await self.ask("POST", f"{path}/cancel")
        elif self.busy:
            self.armed = True
        await self.refresh()

    async def decide(self, action: str) -> bool:
        """Answer the open dialog; return whether that counted."""
        answered, self.dialog = self.dialog, None
        body = {"permission": answered, "action": action}
        return (await self.ask("POST", "/permissions/grant", body))["resolved"]

    async def switch_model(self, model: str) -> None:
        """Choose another large model."""
        chosen = {"model": model, "provider": "scripted"}
        body = {"scope": 0, "model_type": "large", "model": chosen}
        await self.ask("POST", "/config/model", body)
        await self._read_workspace()
        await self.ask("POST", "/agent/update")
        await self.refresh()

    # --- refreshing

    async def refresh(self) -> None:
        """Read whether the agent works (11.4, busy refresh)."""
        info = await self.ask("GET", "/agent")
        if info is not None and info["is_ready"]:
            info = await self.ask("GET", "/agent") or info
            info = await self.ask("GET", "/agent") or info
            self.busy, self.model = info["is_busy"], info["model"]["name"]
        skip = await self.ask("GET", "/permissions/skip")
        self.skip = skip["skip"] if skip else False
        self._change()

    async def _poll(self) -> None:
        """Refresh while something moves on the screen, as the spinner does."""
        while True:
            await trio.sleep(POLL)
            if self.paused is not None:
                await self.paused.wait()
            if self.busy or self.queue:
                await self._refresh_all()

    async def _refresh_queue(self) -> None:
        if self.session is not None:
            path = f"/agent/sessions/{self._sid}/prompts/list"
            await self.ask("GET", "/agent")
            self.queue = await self.ask("GET", path) or []
            self._change()

    async def _refresh_all(self) -> None:
        await self.refresh()
        await self._refresh_queue()

    async def _read_workspace(self) -> None:
        workspace = await self.ask("GET", "")
        if workspace is not None:
            self._adopt(workspace)
            self._change()

    async def _read_files(self) -> None:
        self.files = await self.ask("GET", f"/sessions/{self._sid}/history") or []
        for path in sorted({file["path"] for file in self.files}):
            await self.ask("POST", "/lsps/start", {"path": path})
        self._change()

    async def _read_mcp(self) -> None:
        await self.ask("POST", "/agent/update")
        for path in ("/mcp/states", "/mcp/prompts", "/mcp/pending-auth"):
            await self.ask("GET", path)

    # --- the stream

    async def _live(self, listening: trio.Event) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._poll)
                nursery.start_soon(self._subscribe, listening)

    async def _subscribe(self, listening: trio.Event) -> None:
        """Read the stream, and get it back whenever it ends (5.8)."""
        pause = FIRST_PAUSE
        while True:
            status = await self._try_to_read(listening)
            if self.spinning:
                await trio.sleep_forever()
            if not self.degraded:
                self.degraded, pause = True, FIRST_PAUSE
                self.losses += 1
                self._change()
            if status == 404 and await self._create():
                continue
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _try_to_read(self, listening: trio.Event) -> int:
        path = f"/v1/workspaces/{self.workspace['id']}/events?client_id={self.client_id}"
        try:
            stream = await self.server.connect()
        except OSError:
            return 0
        async with stream:
            fields = [("Host", "api.crush.localhost"), ("Accept", "text/event-stream"), *GO.items()]
            connection = h11.Connection(h11.CLIENT)
            head = h11.Request(method="GET", target=path, headers=fields)
            try:
                await stream.send_all(connection.send(head) or b"")
                connection.send(h11.EndOfMessage())
                return await self._read_stream(stream, connection, listening)
            except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
                if connection.their_state is h11.SEND_BODY:
                    self.spinning = f"the stream ended without an end: {error!r}"
                return 0

    async def _read_stream(
        self, stream: trio.abc.Stream, connection: h11.Connection, listening: trio.Event
    ) -> int:
        reader, status = SSEReader(), 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = bytes(await stream.receive_some())
                if self.paused is not None:
                    await self.paused.wait()
                connection.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
                if status == 200:
                    await self._come_back()
                    listening.set()
            elif isinstance(event, h11.Data) and status == 200:
                for line in reader.feed(event.data):
                    self.errors += event_problems(line)
                    self._take(json.loads(line))
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return status

    async def _come_back(self) -> None:
        if self.degraded and self.session is not None:
            await self._show(self._sid)
            self.nursery.start_soon(self.load, self._sid)
        self.degraded = False
        self._change()

    # --- what it draws of events, see 5.10

    def _take(self, event: Data) -> None:
        self.events.append(event)
        change, payload = event["payload"]["type"], event["payload"]["payload"]
        handler = cast(
            "Callable[[str, Data], None] | None", getattr(self, f"_take_{event['type']}", None)
        )
        if handler is not None:
            handler(change, payload)
        self._change()

    def _take_message(self, change: str, message: Data) -> None:
        if self.session is None or message["session_id"] != self._sid:
            return
        match change:
            case "created":
                self.chat.add(message)
                self.nursery.start_soon(self._refresh_all)
            case "updated":
                self.chat.change(message)
            case _:
                self.chat.items.pop(message["id"], None)

    def _take_session(self, change: str, session: Data) -> None:
        if self.session is not None and session["id"] == self._sid:
            if change == "deleted":
                self.nursery.start_soon(self.leave_session)
            else:
                self.session = session

    def _take_file(self, _: str, file: Data) -> None:
        if self.session is not None and file["session_id"] == self._sid:
            self.nursery.start_soon(self._read_files)

    def _take_permission_request(self, _: str, request: Data) -> None:
        if self.dialog is not None and self.dialog["id"] != request["id"]:
            self.errors.append(f"the dialog {self.dialog} was lost")
        self.dialog = request

    def _take_permission_notification(self, _: str, notice: Data) -> None:
        call = notice["tool_call_id"]
        is_open = not notice["granted"] and not notice["denied"]
        self.chat.asked[call] = "awaiting permission" if is_open else "running"
        if not is_open and self.dialog is not None and self.dialog["tool_call_id"] == call:
            self.dialog = None

    def _take_question_batch_request(self, _: str, form: Data) -> None:
        self.form = form

    def _take_question_batch_notification(self, _: str, __: Data) -> None:
        self.form = None

    def _take_agent_event(self, _: str, event: Data) -> None:
        if event["type"] == "agent_finished":
            self.noted.append(event["session_title"])
        self.nursery.start_soon(self._refresh_all)

    def _take_config_changed(self, _: str, __: Data) -> None:
        self.nursery.start_soon(self._read_workspace)

    def _take_lsp_event(self, _: str, __: Data) -> None:
        self.nursery.start_soon(self.ask, "GET", "/lsps")

    def _take_mcp_event(self, _: str, event: Data) -> None:
        if event["type"] == "state_changed":
            self.nursery.start_soon(self._read_mcp)

    # --- looking

    @property
    def screen(self) -> list[str]:
        """The lines of the chat."""
        return self.chat.lines()

    @property
    def title(self) -> str:
        """The title of the open session."""
        assert self.session is not None
        return self.session["title"]

    def look(self) -> list[str]:
        """Return all that there is to see, for a test that fails."""
        state = f"busy={self.busy} queue={self.queue} dialog={self.dialog} form={self.form}"
        return [*self.screen, state, f"{self.session}", *self.errors, self.spinning]

    async def until(self, looks: Callable[[Terminal], object]) -> None:
        """Wait until the screen looks so."""
        while not looks(self):
            await self._changed.wait()

    async def until_idle(self, last: str = "--") -> None:
        """Wait until all that was sent is drawn, and the last turn is over on the screen too.

        Args:
            last: The last line; with a blank at its end, how that begins.
        """

        def is_over(seen: Terminal) -> bool:
            found = seen.screen[-1] if seen.screen else ""
            ends = found.startswith(last) if last.endswith(" ") else found == last
            return ends and {f"> {text}" for text in seen.sent} <= set(seen.screen)

        await self.until(is_over)
        await self.until(lambda _: not self.busy and not self.queue)

    async def until_answered(self) -> None:
        """Wait until nothing that it has asked is unanswered, and it asks no more because of it."""
        await trio.testing.wait_all_tasks_blocked()
        while self.asking:
            await self._changed.wait()
            await trio.testing.wait_all_tasks_blocked()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


async def come_to_rest(*terminals: Terminal) -> None:
    """Wait until these have heard all that was published, and ask nothing more because of it.

    A new session is what all of them hear last, and ask nothing for.
    """
    before, asked = -1, 0
    while asked != before:
        before = asked
        first = terminals[0]
        path = f"/v1/workspaces/{first.workspace['id']}/sessions"
        made = (await first.server.request("POST", path, {"title": "last"}, GO)).json["id"]
        for each in terminals:
            await each.until(lambda seen: _has_heard_of(seen, made))  # noqa: B023  used at once
            await each.until_answered()
        asked = sum(each.asked.total() for each in terminals)


def _has_heard_of(terminal: Terminal, session_id: str) -> bool:
    return any(
        event["type"] == "session" and event["payload"]["payload"]["id"] == session_id
        for event in terminal.events
    )


@asynccontextmanager
async def open_terminal(
    server: Reachable, *, errors: bool = False, **more: Any
) -> AsyncGenerator[Terminal]:
    """Start a terminal client in the server's directory; leaving the block quits it.

    What it shows must be what it would show if it were started now, and there may be no errors.

    Args:
        server: Where.
        errors: Whether it may have shown some.
        more: Of its attributes.
    """
    (server.directory / "AGENTS.md").touch()  # else it would offer to write one
    async with trio.open_nursery() as nursery:
        terminal = Terminal(server, nursery, str(server.directory), **more)
        await terminal.start()
        try:
            yield terminal
        except BaseException:
            print(*terminal.look(), sep="\n")  # noqa: T201  for whoever reads why
            raise
        if terminal.session is not None:
            seen = terminal.screen
            await terminal.load(terminal._sid)
            assert terminal.screen == seen
        await terminal.leave()
        nursery.cancel_scope.cancel("the terminal is closed")
    assert errors or terminal.errors == []
    assert not terminal.spinning
