"""A terminal that is suspended for ten minutes: its program reads nothing, and comes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import attrs
import h2.events
import pytest
import trio
from trio.testing import MockClock

from crush_trio.client.events import MessageAssembler
from crush_trio.client.session import SessionClient
from crush_trio.client.workspace import WorkspaceClient
from crush_trio.providers.scripted import Answer, Say, ScriptedModel
from crush_trio.settings import Settings
from crush_trio.wire.sse import SSEReader
from crush_trio.wire.streams import TooOld
from history_kit import Heard, check_stream
from people_kit import Call, events_path, is_answer, status_of
from serving_kit import H2Client
from world_kit import World, open_world

TEN_MINUTES = 600.0
LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""

LARGE: Answer = [Say("x" * 300_000, chunk=60_000, pause=20.0)]
"""More than a connection holds for a reader that takes nothing: the server has to wait for it."""

BEHIND = 12
"""Large answers that a log of 800 kB has no room for."""


class Reader(Protocol):
    """Somebody who reads an event stream, when it is not suspended."""

    async def read(self) -> bytes:
        """Read some of the body; nothing more comes behind its proper end."""
        ...


@attrs.define
class H1Reader:
    """Over HTTP/1.1 the body ends with its connection."""

    call: Call
    first: bytes

    async def read(self) -> bytes:
        first, self.first = self.first, b""
        return first or bytes(await self.call.stream.receive_some(16_384))


@attrs.define
class H2Reader:
    """Over HTTP/2 the body ends with its stream. Who is suspended gives no window."""

    client: H2Client
    stream_id: int
    ended: bool = False

    async def read(self) -> bytes:
        body = b""
        while not body and not self.ended:
            data = await self.client.stream.receive_some()
            assert data, "the connection ended before the stream"
            for event in self.client.connection.receive_data(bytes(data)):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.client.connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                assert not isinstance(event, h2.events.StreamReset)
                self.ended |= isinstance(event, h2.events.StreamEnded)
            await self.client.flush()
        return body


@asynccontextmanager
async def attached(
    world: World, workspace: WorkspaceClient, protocol: str, query: str
) -> AsyncGenerator[Reader]:
    """Attach a reader that has seen its 200 and nothing else."""
    path = events_path(workspace) + query
    if protocol == "h1":
        async with world.call("GET", path, connect=world.connect_lockstep) as call:
            head, _, first = (await call.head()).partition(b"\r\n\r\n")
            assert b" 200 " in head
            yield H1Reader(call, first)
    else:
        client = H2Client(await world.connect())
        stream_id = await client.send("GET", path)
        await client.wait_for(h2.events.ResponseReceived, stream_id, acknowledge=False)
        yield H2Reader(client, stream_id)
        await client.stream.aclose()


async def read_to(reader: Reader, last: bytes, number: int = 1) -> bytes:
    """Read until something has come so often."""
    body = b""
    while body.count(last) < number:
        data = await reader.read()
        assert data, "the stream has ended"
        body += data
    return body


async def read_out(reader: Reader) -> bytes:
    """Read to the end of the body."""
    body = b""
    while data := await reader.read():
        body += data
    return body


def taken(body: bytes) -> list[tuple[int | None, Heard]]:
    """Return the events of a body, which ends with a whole one, with their ids."""
    assert body.endswith(b"\n\n")
    reader, assembler = SSEReader(), MessageAssembler()
    found: list[tuple[int | None, Heard]] = []
    for number, line in reader.feed_numbered(body):
        event = assembler.take(line) if line else None
        if event is not None:
            found.append((number, Heard(event.type, event.change, event.payload)))
    return found


async def submit(world: World, session: SessionClient, text: str) -> None:
    """Prompt for a run of its own, and do not wait."""
    async with world.prompt(session, text, run_id=text, prefer="respond-async") as call:
        assert (await call.reply()).status == 202


@pytest.mark.promise("S3", "S1", "S2", "S4", "W2")
@pytest.mark.parametrize("protocol", ["h1", "h2"])
@pytest.mark.parametrize("query", ["", "&ids=1", "&deltas=1"], ids=["plain", "ids", "deltas"])
async def test_a_terminal_that_was_suspended_finds_its_stream(
    autojump_clock: MockClock, tmp_path: Path, protocol: str, query: str
) -> None:
    """It was the last client. Its workspace and its stream are there, with all that has happened,
    and they go on."""
    model = ScriptedModel(LARGE, LARGE, "Live.")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            async with world.visit() as workspace:
                session = await workspace.create_session("New Session")
                place = attached(world, workspace, protocol, query)
                reader = await place.__aenter__()
            await submit(world, session, "one")
            await submit(world, session, "two")
            begun = trio.current_time()
            await trio.sleep(TEN_MINUTES)
            (exchange,) = world.traffic.of("GET", "/events")
            assert not exchange.ended.is_set()
            assert await status_of(world, workspace.id) == 200
            body = await read_to(reader, b'"type":"run_complete"', 2)
            assert trio.current_time() - begun < TEN_MINUTES + 1  # all of it had waited for it
            await submit(world, session, "three")
            body += await read_to(reader, b'"type":"run_complete"')
            events = [event for _, event in taken(body)]
            check_stream(events)
            said = {event.payload.id: event.payload.text for event in events if is_answer(event)}
            assert list(said.values()) == ["x" * 300_000, "x" * 300_000, "Live."]
            assert await status_of(world, workspace.id) == 200
            await place.__aexit__(None, None, None)


@pytest.mark.promise("S3", "S5", "S6")
@pytest.mark.parametrize("protocol", ["h1", "h2"])
@pytest.mark.parametrize("query", ["", "&ids=1", "&deltas=1"], ids=["plain", "ids", "deltas"])
async def test_a_terminal_that_missed_too_much_finds_a_clean_end(
    autojump_clock: MockClock, tmp_path: Path, protocol: str, query: str
) -> None:
    """Not while it is suspended. What was on its way are whole events; who uses ids is told what it
    has come to, and goes on from there."""
    model = ScriptedModel(*[LARGE] * BEHIND, "Live.")
    settings = Settings(log_bytes=800_000)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model, settings=settings) as world:
            async with world.visit() as workspace:
                session = await workspace.create_session("New Session")
                async with attached(world, workspace, protocol, query) as reader:
                    for number in range(BEHIND):
                        await submit(world, session, f"prompt {number}")
                    await model.wait_request(BEHIND)
                    await trio.sleep(TEN_MINUTES)
                    (exchange,) = world.traffic.of("GET", "/events")
                    assert not exchange.ended.is_set()
                    told = taken(await read_out(reader))
                    await exchange.ended.wait()
                assert sum(event.type == "run_complete" for _, event in told) < BEHIND
                check_stream([event for _, event in told])
                again = ""
                if query:
                    last, event = told[-1]
                    assert isinstance(event.payload, TooOld)
                    assert last == event.payload.last_id
                    again = f"{query}&after={last}"
                async with attached(world, workspace, protocol, again) as reader:
                    await submit(world, session, "still there?")
                    body = await read_to(reader, b'"type":"run_complete"')
                    assert b"Live." in body
                    assert b"too_old" not in body
