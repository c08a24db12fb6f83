"""Event streams: claim, cursor and answer in one piece, and a proper end whoever ends them."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import Town, accepted, open_town
from crush_trio.ids import ClientID
from crush_trio.messages import Prompt
from crush_trio.providers.scripted import Call, Hang, Say
from crush_trio.server.events import EventStreams
from crush_trio.wire.sse import SSEReader

LIMIT = 3600
CLIENT = "0b9c2a3e-1f4d-4c5b-8a7e-6d5c4b3a2f10"


@attrs.define(eq=False)
class Stream:
    """One request as a listener sees it.

    Attributes:
        sent: What the application sent.
        gone: Lets the client go.
        reads: Whether the client takes what is sent.
        broken: Whether sending fails.
        ended: Set when the application is done.
    """

    sent: list[Any] = attrs.field(factory=list[Any])
    gone: trio.Event = attrs.field(factory=trio.Event)
    reads: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    broken: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        self.reads.set()

    async def receive(self) -> Any:
        """Be the application's ``receive``: a bodyless request, then silence, then a disconnect."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Be the application's ``send``."""
        await self.reads.wait()
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise trio.BrokenResourceError
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def events(self) -> list[str]:
        """The types of the events so far."""
        lines = SSEReader().feed(self.body)
        return [msgspec.json.decode(line)["type"] for line in lines]

    @property
    def is_closed(self) -> bool:
        """Whether the body had a proper end."""
        return self.sent[-1].get("more_body") is False


@attrs.define(eq=False)
class Street:
    """A host with one workspace, and streams on it."""

    town: Town
    streams: EventStreams
    nursery: trio.Nursery
    passed_on: list[str] = attrs.field(factory=list[str])

    async def open(self, workspace_id: str, client: str = CLIENT, **changed: Any) -> Stream:
        """Open a stream and return when it waits or is done."""
        stream = Stream()
        if changed.pop("stalled", False):
            stream.reads = trio.Event()
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": f"/v1/workspaces/{workspace_id}/events",
            "query_string": f"client_id={client}".encode(),
            "headers": list[tuple[bytes, bytes]](),
        } | changed
        self.nursery.start_soon(self._serve, scope, stream)
        await wait_all_tasks_blocked()
        return stream

    async def _serve(self, scope: Any, stream: Stream) -> None:
        try:
            with stream.scope:
                await self.streams(scope, stream.receive, stream.send)
        except* trio.BrokenResourceError:
            assert stream.broken
        stream.ended.set()


@asynccontextmanager
async def open_street(tmp_path: Path, *answers: Any) -> AsyncGenerator[Street]:
    with trio.fail_after(LIMIT):
        async with open_town(tmp_path, *answers) as town, trio.open_nursery() as nursery:
            passed_on: list[str] = []

            async def app(scope: Any, receive: Any, send: Any) -> None:
                passed_on.append(f"{scope.get('method')} {scope.get('path')}")
                await trio.lowlevel.checkpoint()

            yield Street(town, EventStreams(app, town.host, 15), nursery, passed_on)
            nursery.cancel_scope.cancel("the test is over")


@pytest.mark.promise("S1")
async def test_a_stream_answers_at_once_and_misses_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """200 before the first event, and everything that is published behind its subscription, which
    comes before the 200."""
    async with open_street(tmp_path, "answer") as street:
        workspace = await street.town.open()
        stream = await street.open(workspace.id, stalled=True)
        assert stream.sent == []  # subscribed, and the 200 is still on its way
        session = await street.town.session(workspace)
        run = accepted(workspace.submit(session, Prompt("hello")))
        await run.finished.wait()
        stream.reads.set()
        await wait_all_tasks_blocked()
        assert stream.status == 200
        assert dict(stream.sent[0]["headers"])[b"content-type"] == b"text/event-stream"
        assert stream.events[:3] == ["session", "message", "message"]
        assert stream.events.count("run_complete") == 1
        assert not stream.is_closed


@pytest.mark.promise("W2", "W3")
async def test_a_stream_is_a_claim_for_as_long_as_it_is_open(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """From before its 200 to the moment at which its client is seen to be gone."""
    async with open_street(tmp_path) as street:
        workspace = await street.town.open(CLIENT)
        stream = await street.open(workspace.id)
        await trio.sleep(1000)
        assert street.town.host.get(workspace.id) is workspace
        stream.gone.set()
        await stream.ended.wait()
        await trio.sleep(9)
        assert street.town.host.get(workspace.id) is workspace
        await trio.sleep(2)
        assert street.town.host.workspaces == []


@pytest.mark.promise("W2", "R2")
@pytest.mark.parametrize("how", ["disconnect", "cancel", "broken"])
async def test_however_a_stream_ends_its_claim_ends_and_no_run_does(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The client leaves, the connection's task is cancelled, sending fails: also while it stalls."""
    async with open_street(tmp_path, [Say("Half"), Hang()]) as street:
        workspace = await street.town.open(CLIENT)
        session = await street.town.session(workspace)
        run = accepted(workspace.submit(session, Prompt("hello")))
        stream = await street.open(workspace.id, stalled=True)
        claim = workspace.claims._clients[ClientID(CLIENT)]
        assert claim.streams == 1
        match how:
            case "disconnect":
                stream.reads.set()
                stream.gone.set()
            case "cancel":
                stream.scope.cancel("the connection's task ends")
            case _:
                stream.broken = True
                stream.reads.set()
        await stream.ended.wait()
        assert claim.streams == 0
        await trio.sleep(100)
        assert not run.settled
        assert street.town.host.get(workspace.id) is workspace


@pytest.mark.promise("S6", "W4")
async def test_a_stream_that_the_server_ends_has_a_proper_end(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Behind the last event, also for a client that reads slowly and one that has retired."""
    async with open_street(tmp_path, [Say("Half"), Hang()]) as street:
        workspace = await street.town.open(CLIENT)
        session = await street.town.session(workspace)
        fast, slow = await street.open(workspace.id), await street.open(workspace.id, stalled=True)
        workspace.submit(session, Prompt("hello"))
        await wait_all_tasks_blocked()
        street.town.host.retire(ClientID("a"))
        street.town.host.retire(ClientID(CLIENT))
        await fast.ended.wait()
        assert fast.events[-1] == "run_complete"
        assert fast.is_closed
        slow.reads.set()
        await slow.ended.wait()
        assert slow.events[-1] == "run_complete"
        assert slow.is_closed


@pytest.mark.promise("S6", "C3")
@pytest.mark.parametrize("query", ["", "&ids=1", "&deltas=1"], ids=["plain", "ids", "deltas"])
async def test_a_stream_that_breaks_is_ended_properly_and_the_log_says_why(
    query: str, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of ours must not leave a client that waits for ever (wire contract 5.3)."""
    async with open_street(tmp_path) as street:
        workspace = await street.town.open(CLIENT)
        wish = f"client_id={CLIENT}{query}".encode()
        stream = await street.open(workspace.id, query_string=wish)
        workspace.hub._log.append(cast("Any", "no event"))
        workspace.hub._readers.unpark_all()
        await stream.ended.wait()
        assert stream.status == 200
        assert stream.is_closed
        assert "an event stream broke, and is ended" in caplog.text
        assert workspace.claims._clients[ClientID(CLIENT)].streams == 0


@pytest.mark.promise("D2")
async def test_a_stream_begins_with_the_open_request(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Before anything else that happens."""
    async with open_street(tmp_path, Call("ls", {"path": "/"})) as street:
        workspace = await street.town.open()
        session = await street.town.session(workspace)
        workspace.submit(session, Prompt("hello"))
        await wait_all_tasks_blocked()
        stream = await street.open(workspace.id)
        assert stream.events == ["permission_notification", "permission_request"]
        workspace.cancel(session)
        await wait_all_tasks_blocked()
        assert stream.events[2] == "permission_notification"
        assert stream.events[-1] == "run_complete"


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("workspace_id", "client", "status", "message"),
    [
        ("unknown", CLIENT, 404, "workspace not found"),
        (None, "", 400, "client_id is required"),
        (None, "nobody", 400, "client_id is not a valid UUID"),
    ],
)
async def test_a_stream_that_cannot_be_is_refused(
    workspace_id: str | None,
    client: str,
    status: int,
    message: str,
    autojump_clock: MockClock,
    tmp_path: Path,
) -> None:
    """With an error body, and without a claim."""
    async with open_street(tmp_path) as street:
        workspace = await street.town.open()
        stream = await street.open(workspace_id or workspace.id, client)
        assert stream.ended.is_set()
        assert (stream.status, msgspec.json.decode(stream.body)["message"]) == (status, message)
        assert stream.is_closed
        assert list(workspace.claims._clients) == ["a"]


async def test_everything_else_is_passed_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A ``HEAD`` attaches nobody."""
    async with open_street(tmp_path) as street:
        workspace = await street.town.open()
        await street.open(workspace.id, method="HEAD")
        await street.open(workspace.id, path=f"/v1/workspaces/{workspace.id}")
        await street.open(workspace.id, type="lifespan")
        path = f"/v1/workspaces/{workspace.id}"
        assert street.passed_on == [f"HEAD {path}/events", f"GET {path}", f"GET {path}/events"]
        assert list(workspace.claims._clients) == ["a"]
        assert workspace.claims._ends_at() < math.inf
