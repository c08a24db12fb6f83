"""Recorded traffic of Crush's own client, sent again, and what is answered now.

A recording is a list of lines: requests, replies, events, ends of streams. The replay walks
through it: it sends each request where the recording has it, reads each reply where the recording
has one, and goes past an event only when the same has come from our server. So what the client did
because of something, it does after the same again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import attrs
import trio

from golden_kit import Ear, Line, Names, RecordedModel, recording
from people_kit import Reachable
from serving_kit import Reply
from strict_kit import reply_problems

MOVING = re.compile(r"/(sessions|messages|history|files|messages/user)$|/sessions/[^/]+$")
"""What a reply says of these depends, while a turn runs, on how far it is."""

TITLE = "'title': 'Scripted title'"


@attrs.define(eq=False)
class Awaited:
    """A reply that comes, or has come."""

    come: trio.Event = attrs.field(factory=trio.Event)
    reply: Reply | None = None

    async def read(self) -> Reply:
        """Wait until it has come."""
        await self.come.wait()
        assert self.reply is not None
        return self.reply


@attrs.define(eq=False)
class Replay:
    """The recorded client at our server, over all the recordings of a day."""

    server: Reachable
    model: RecordedModel
    names: Names
    nursery: trio.Nursery
    restart: Callable[[str], Awaitable[None]]
    ears: dict[int, Ear] = attrs.field(factory=dict[int, Ear])
    left: list[str] = attrs.field(factory=list[str])
    name: str = ""
    _replies: dict[int, Awaited] = attrs.field(factory=dict[int, Awaited])
    _asked: dict[int, Line] = attrs.field(factory=dict[int, Line])
    _order: dict[int, int] = attrs.field(factory=dict[int, int])
    _heard: Counter[Any] = attrs.field(factory=Counter[Any])
    _turns: int = 0
    _held: bool = False
    _down: bool = False

    @property
    def problems(self) -> list[str]:
        """Everything that differed, or that the client could not have read."""
        return self.names.problems

    async def play(self, name: str) -> None:
        """Go through one recording."""
        lines = recording(name)
        self.name, self.ears, self._replies, self._asked = name, {}, {}, {}
        self._heard, self._turns, self._held = Counter(), 0, False
        self._order = {line["n"]: at for at, line in enumerate(lines) if line["kind"] == "response"}
        self.model.begin(title_first=_title_first(lines))
        workspace = next(each for each in lines if each["kind"] == "response")["body"]["id"]
        if workspace not in self.names.known:
            await self._say_goodbyes()
        for line in lines:
            if line["kind"] == "end" and line["n"] in self.ears:
                await self._hear_title(lines, line["n"])
            await self._play_line(line)
        for number in self.ears:
            await self._hear_title(lines, number)
            self._compare_objects(lines, number)

    async def _say_goodbyes(self) -> None:
        """Let the clients go that the recording forgot, as it began anew here."""
        for client in self.left:
            assert (await self.server.request("DELETE", f"/v1/clients/{client}")).status == 200
        self.left.clear()

    async def _play_line(self, line: Line) -> None:
        match line["kind"]:
            case "request":
                await self._ask(line)
            case "response":
                await self._read(line)
            case "event":
                await self._hear(line["n"], line["event"])
            case _:
                await self._end(line)

    # --- requests and replies

    async def _ask(self, line: Line) -> None:
        target, body = self.names.ours(line["target"]), self.names.translate(line["body"])
        if target == "/v1/workspaces":
            body["env"] = ["TERM=xterm-256color"]
            self.left.append(body["client_id"])
        elif line["method"] == "DELETE":
            self.left.remove(target.rpartition("/")[2])
        elif target.endswith("/agent") and line["method"] == "POST":
            self._turns += "queued" not in body["prompt"]
        self._held &= not target.endswith("/grant")
        line |= {"own": target}
        await self._let_earlier_arrive(line["n"])
        self._asked[line["n"]] = line
        if "/events?" in target:
            await self._listen(line["n"], target, line["headers"])
        else:
            awaited = self._replies[line["n"]] = Awaited()
            self.nursery.start_soon(
                self._request, awaited, line["method"], target, body, line["headers"]
            )

    async def _let_earlier_arrive(self, number: int) -> None:
        """Wait for changes still on their way that the recorded answer to a request knew of."""
        for earlier, awaited in self._replies.items():
            asked = self._asked[earlier]
            is_change = asked["method"] != "GET" and not asked["own"].endswith("/agent")
            answered_first = self._order.get(earlier, inf) < self._order.get(number, inf)
            if is_change and answered_first:
                await awaited.come.wait()

    async def _request(
        self, awaited: Awaited, method: str, target: str, body: Any, headers: Any
    ) -> None:
        awaited.reply = await self.server.request(method, target, body, headers)
        awaited.come.set()

    async def _listen(self, number: int, target: str, headers: dict[str, str]) -> None:
        stream = await self.server.connect()
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"GET {target} HTTP/1.1\r\nHost: api.crush.localhost\r\n{fields}\r\n"
        await stream.send_all(head.encode())
        read = b""
        while b"\r\n\r\n" not in read:
            read += await stream.receive_some()
        head, _, first = read.partition(b"\r\n\r\n")
        if b" 200 " not in head or b"text/event-stream" not in head or b"no-cache" not in head:
            self.problems.append(f"{self.name}: {number}: the stream begins with {head!r}")
        self.ears[number] = ear = Ear()
        self.nursery.start_soon(self._follow, ear, stream, first)

    async def _follow(self, ear: Ear, stream: trio.abc.Stream, first: bytes) -> None:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_model, ear)
            await ear.read(stream, first)
            nursery.cancel_scope.cancel("the stream is over")
        self.problems.extend(ear.problems)

    async def _tell_model(self, ear: Ear) -> None:
        """Set what the model waits for, as early as it comes."""
        model = self.model

        async def tell(event: trio.Event, words: str) -> None:
            await ear.wait(lambda heard: words in str(heard))
            event.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, model.titled, TITLE)
            nursery.start_soon(tell, model.told, "'type': 'run_complete'")

    async def _read(self, line: Line) -> None:
        number, asked = line["n"], self._asked[line["n"]]
        if number in self.ears:
            if line["status"] == 404:  # after a restart the old id is good (wire contract 0, 5.8)
                self.ears.pop(number).scope.cancel("in the recording it was refused")
            return
        short = re.sub(r".*/workspaces/[^/]*", "", asked["target"])
        place = f"{self.name}: {number}: {asked['method']} {short}"
        reply = await self._replies.pop(number).read()
        path = asked["own"].partition("?")[0]
        self.problems.extend(reply_problems(asked["method"], path, reply.status, reply.body))
        status = 200 if line["status"] == 404 and self._down else line["status"]
        kind = line["headers"].get("Content-Type", reply.headers.get("content-type"))
        if (reply.status, reply.headers.get("content-type")) != (status, kind):
            self.problems.append(f"{place}: {status} {kind}, but here {reply}")
        elif line["status"] != 404:
            self._compare_body(asked["method"], path, line["body"], reply, place)

    def _compare_body(
        self, method: str, path: str, recorded: Any, reply: Reply, place: str
    ) -> None:
        own: Any = json.loads(reply.body) if reply.body else None
        if self._turns and method == "GET" and MOVING.search(path):
            return
        if method == "POST" and path.endswith(("/agent", "/cancel")):
            own = None  # ours says which runs; theirs says nothing, and its client reads nothing
        if self._down and path == "/v1/workspaces":
            self.names.known[recorded["id"]] = own["id"]  # the saved one (wire contract 0, 5.8)
        if path.endswith("/sessions") and method == "GET":
            _take_late_titles(recorded, own)
        if path.endswith("/messages/user"):
            _put_in_order(recorded)
        is_moving = self._turns and not self._held
        skip = frozenset({"is_busy"} if is_moving else ())
        self.names.compare(recorded, own, place, skip=skip)

    async def _end(self, line: Line) -> None:
        match line["how"]:
            case "client closed it":
                self.ears[line["n"]].scope.cancel("the client closed it")
            case "server not reachable":
                if line["n"] in self._replies:
                    await self._replies.pop(line["n"]).read()
                elif line["n"] in self.ears:
                    self.ears.pop(line["n"]).scope.cancel("in the recording it was refused")
            case how:
                await self.restart(how)
                ear = self.ears[line["n"]]
                await ear.ended.wait()
                if ear.unclean:
                    self.problems.append(f"{self.name}: {ear.unclean}")
                self._down = True

    # --- events

    async def _hear(self, number: int, event: Line) -> None:
        """Wait until what the recording has here has come from our server too."""
        ear, type_, change = self.ears[number], event["type"], event["payload"]["type"]
        payload = event["payload"]["payload"]
        match type_, change:
            case "session", "updated":
                pass
            case "message", "updated":
                name, wanted = self.names.ours(payload["id"]), _state(payload["parts"])
                if wanted[3] == "canceled" and not self._asked_to_cancel():
                    await self._cancel(payload["session_id"])
                await ear.wait(
                    lambda each: (
                        each["type"] == "message"
                        and each["payload"]["payload"]["id"] == name
                        and _is_reached(wanted, _state(each["payload"]["payload"]["parts"]))
                    )
                )
                self._held |= "hang" in str(ear.of("message", "created")[-2])
            case _:
                self._heard[number, type_, change] += 1
                found = await ear.wait(
                    lambda each: (
                        (each["type"], each["payload"]["type"]) == (type_, change)
                        and not _is_dropped(each)
                    ),
                    self._heard[number, type_, change],
                )
                self.names.compare(payload, found["payload"]["payload"], type_)
                self._held |= type_ == "permission_request"
                if type_ == "run_complete":
                    self._turns -= 1
                    self._held = False

    def _asked_to_cancel(self) -> bool:
        return any(asked["target"].endswith("/cancel") for asked in self._asked.values())

    async def _cancel(self, session: str) -> None:
        """Be the other client that cancelled, which is not in the recording."""
        workspace = next(
            asked["own"] for asked in self._asked.values() if "/events?" in asked["own"]
        )
        path = (
            f"{workspace.partition('/events')[0]}/agent/sessions/{self.names.ours(session)}/cancel"
        )
        assert (await self.server.request("POST", path)).status == 200
        self._asked[0] = {"target": path, "own": path}

    async def _hear_title(self, lines: list[Line], number: int) -> None:
        """Wait for the title, the one thing that may come behind a turn, where it was recorded."""
        ear = self.ears[number]
        events = [
            each["event"] for each in lines if each["kind"] == "event" and each["n"] == number
        ]
        is_over = ear.ended.is_set() or ear.scope.cancel_called
        if TITLE in str(events) and not is_over:
            await ear.wait(lambda heard: TITLE in str(heard))

    def _compare_objects(self, lines: list[Line], number: int) -> None:
        """Compare what each object went through on one stream, and where it came to."""
        recorded = [
            each["event"] for each in lines if each["kind"] == "event" and each["n"] == number
        ]
        own = [event for event in self.ears[number].events if not _is_dropped(event)]
        if recorded and recorded[-1]["type"] == "run_complete":
            # `crush run` leaves there, and what Crush publishes later is lost; here it is the last.
            recorded, own = _known_in(recorded, own)
        for type_ in {event["type"] for event in [*recorded, *own]} - {"message", "session"}:
            counts = [sum(each["type"] == type_ for each in events) for events in (recorded, own)]
            if counts[0] != counts[1]:
                self.problems.append(f"{self.name}: {type_}: {counts[0]}, but here {counts[1]}")
        theirs, ours = _lives(recorded), _lives(own)
        for (type_, identity), life in theirs.items():
            found = ours.pop((type_, self.names.ours(identity)), [])
            place = f"{self.name}: {type_}"
            if not found:
                self.problems.append(f"{place}: {identity} never came")
            elif type_ == "message":
                self.names.compare(_steps(life), _steps(found), f"{place} steps")
            if found:
                self.names.compare(life[-1], found[-1], place)
        self.problems.extend(f"{self.name}: {key} is not in the recording" for key in ours)


def _known_in(recorded: list[Line], own: list[Line]) -> tuple[list[Line], list[Line]]:
    """Return what two streams have in common, the first of which was left too early."""
    types = {event["type"] for event in recorded}
    answers = [each for each in recorded if _is_of_assistant(each)]
    is_finished = bool(_state(answers[-1]["payload"]["payload"]["parts"])[3])

    def is_known(event: Line) -> bool:
        return is_finished if _is_of_assistant(event) else event["type"] in types

    return [each for each in recorded if is_known(each)], [each for each in own if is_known(each)]


def _is_of_assistant(event: Line) -> bool:
    payload = event["payload"]["payload"]
    return event["type"] == "message" and payload["role"] == "assistant"


def _title_first(lines: list[Line]) -> bool:
    """Whether the recorded title came before the turn's counters."""
    said = [str(line["event"]) for line in lines if line["kind"] == "event"]
    counted = [number for number, text in enumerate(said) if "'prompt_tokens': 100" in text]
    titled = [number for number, text in enumerate(said) if "Scripted title" in text]
    return not counted or (bool(titled) and titled[0] < counted[0])


def _take_late_titles(recorded: list[Line], own: list[Line]) -> None:
    """Give recorded sessions the title that they would have got here.

    Crush stops making one when its last client leaves; here that is finished (wire contract 0, 7.1).
    """
    for theirs, ours in zip(recorded, own, strict=False):
        if theirs["title"] == "non-interactive":
            late = ("title", "prompt_tokens", "completion_tokens")
            theirs.update({key: ours[key] for key in late})


def _put_in_order(messages: list[Line]) -> None:
    """Put messages newest first: Crush has those of one second the other way round (R-21)."""
    messages.sort(key=lambda message: message["created_at"], reverse=True)


def _is_dropped(event: Line) -> bool:
    """Whether an event tells of a prompt that was dropped from the queue.

    Ours tells that of every prompt, Crush only where the caller gave an id (wire contract 0, R-43).
    """
    payload = event["payload"]["payload"]
    return event["type"] == "run_complete" and payload["message_id"] == "" and payload["cancelled"]


def _state(parts: list[Line]) -> tuple[str, str, list[Any], str]:
    """Return text, reasoning, tool calls and finish of a message."""
    data = [(part["type"], part["data"]) for part in parts]
    text = "".join(each["text"] for kind, each in data if kind == "text")
    thought = "".join(each["thinking"] for kind, each in data if kind == "reasoning")
    calls = [each.get("finished", False) for kind, each in data if kind == "tool_call"]
    finish = "".join(each["reason"] for kind, each in data if kind == "finish")
    return text, thought, calls, finish


def _is_reached(wanted: tuple[Any, ...], state: tuple[Any, ...]) -> bool:
    """Whether a message is at least so far; streamed text may be cut elsewhere."""
    return (
        state[0].startswith(wanted[0])
        and state[1].startswith(wanted[1])
        and len(state[2]) >= len(wanted[2])
        and all(not one or two for one, two in zip(wanted[2], state[2], strict=False))
        and wanted[3] in {"", state[3]}
    )


def _lives(events: list[Line]) -> dict[tuple[str, str], list[Line]]:
    """Return the states of every message and session in order."""
    found: dict[tuple[str, str], list[Line]] = {}
    for event in events:
        if event["type"] in {"message", "session"}:
            payload = event["payload"]["payload"]
            found.setdefault((event["type"], payload["id"]), []).append(payload)
    return found


def _steps(life: list[Line]) -> list[Any]:
    """Return what a message went through that no coalescing may hide (wire contract 6.4)."""
    steps: list[Any] = []
    for message in life:
        _, _, calls, finish = _state(message["parts"])
        if not steps or steps[-1] != [calls, finish]:
            steps.append([calls, finish])
    return steps
