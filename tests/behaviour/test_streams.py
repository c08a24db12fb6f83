"""Event streams through HTTP: what reaches a reader, whom a slow one concerns, and how streams end."""

from __future__ import annotations

import json
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import h2.events
import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import new_id
from crush_trio.providers.scripted import Call, Hang, Say, ScriptedModel
from crush_trio.settings import Settings
from crush_trio.wire.messages import WireToolCallPart
from history_kit import Heard, check_stream, finish_of
from limits_kit import REAL_LIMIT
from people_kit import (
    Listener,
    agent_path,
    decoded,
    desk,
    events_path,
    is_answer,
    listening,
    noticed,
)
from project_kit import connect_to
from serving_kit import H2Client, request
from world_kit import SETTINGS, StubbornModel, World, open_served_world, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


GONE = r"refused|No such file|failed"
"""What the system says of an address where nobody listens."""


@pytest.mark.promise("S1", "S4", "S2")
async def test_nothing_is_missed_after_the_200(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A reader that has its 200 and reads nothing yet finds all that happened meanwhile, in order."""
    model = ScriptedModel([Say("Look."), Call("ls")], "Done.")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, world.visit() as workspace:
            async with world.call("GET", events_path(workspace)) as call:
                head = await call.head()
                session = await workspace.create_session("New Session")
                result = await session.prompt("hello")
                hosted = world.host.get(workspace.id)
                await noticed()
                hosted.hub.close()
                _, _, first = head.partition(b"\r\n\r\n")
                events = decoded(first + await call.rest())
            assert (events[0].type, events[0].change) == ("session", "created")
            assert events[-1].type in {"run_complete", "session"}
            told = [(event.type, event.change) for event in events if event.type != "session"]
            assert told[0] == ("message", "created")
            assert told.count(("run_complete", "updated")) == 1
            assert events_of_step(events) == ["call", "result", "finish"]
            assert [e.payload.text for e in events if is_answer(e)][-1] == result.text
            check_stream(events)


def events_of_step(events: list[Heard]) -> list[str]:
    """Return the order of call, result and finish of the first step."""
    first = next(event.payload.id for event in events if is_answer(event))
    order: list[str] = []
    for event in events:
        if event.type != "message":
            continue
        if event.payload.id == first and any(
            isinstance(part, WireToolCallPart) for part in event.payload.parts
        ):
            order.append("finish" if finish_of(event.payload) else "call")
        elif event.payload.role == "tool":
            order.append("result")
    return list(dict.fromkeys(order))


@pytest.mark.promise("S1")
async def test_a_client_is_attached_as_soon_as_it_has_its_200(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """So that its session is accepted at once; without a stream it is not attached."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, world.visit() as workspace:
            session = await workspace.create_session("New Session")
            path = (
                f"/v1{workspace._path}/current-session?client_id={workspace._client['client_id']}"
            )
            body = {"session_id": session.id}
            refused = await world.request("POST", path, body)
            assert (refused.status, refused.json) == (409, {"message": "client not attached"})
            async with listening(workspace):
                await workspace.select_session(session.id)
                assert (await session.get()).attached_clients == 1
            await noticed()
            assert (await session.get()).attached_clients == 0


@pytest.mark.promise("S3", "S1", "S4", "S2")
async def test_a_slow_reader_delays_nobody_and_still_gets_all_that_counts(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It reads a little every five seconds; the run takes its own time, and the reader is told each
    creation, the newest text, the finish and the end, in order."""
    words = "".join(f"word{n} " for n in range(100))
    model = ScriptedModel([Say(words, pause=0.1), Call("ls")], [Say(words, pause=0.1)])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            slow = world.call("GET", events_path(place.workspace), connect=world.connect_lockstep)
            async with slow as call, trio.open_nursery() as nursery:
                body = (await call.head()).partition(b"\r\n\r\n")[2]
                begun = trio.current_time()
                done = trio.Event()

                async def prompt() -> None:
                    await place.session.prompt("hello")
                    assert trio.current_time() - begun == pytest.approx(2 * 99 * 0.1, abs=0.2)
                    done.set()

                nursery.start_soon(prompt)
                while not body.endswith(b'"text":"' + words.encode() + b'"}}}\n\n'):
                    await trio.sleep(5)
                    body += await call.stream.receive_some(4096)
                assert done.is_set()
            events = decoded(body)
            assert len(events) < len(place.ear.events)
            check_stream(events)
            kinds = {
                (e.type, e.change, getattr(e.payload, "role", "")) for e in place.ear.events
            } - {("session", "updated", "")}
            assert kinds <= {(e.type, e.change, getattr(e.payload, "role", "")) for e in events}
            assert events_of_step(events) == ["call", "result", "finish"]


async def flood(world: World, ear: Listener, runs: int) -> None:
    """Prompt for answers of 300 kB each, and wait until a reader has heard of all of them."""
    async with world.visit() as workspace:
        session = await workspace.create_session("New Session")
        for number in range(runs):
            result = await session.prompt(f"prompt {number}")
            assert len(result.text) == 300_000
        await ear.wait_complete(number=runs)


LARGE = Say("x" * 300_000, chunk=60_000)


@pytest.mark.promise("S3", "R2", "S6")
@pytest.mark.parametrize("network", ["unix", "tcp"])
async def test_a_stalled_reader_holds_up_neither_runs_nor_readers_nor_the_stop(
    tmp_path: Path, network: str
) -> None:
    """It reads nothing while megabytes wait for it. The others get theirs, and the server stops."""
    model = ScriptedModel(*[[LARGE]] * 12)
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, network=network) as world:
            async with world.visit() as workspace, listening(workspace) as ear:
                async with world.call("GET", events_path(workspace)) as stalled:
                    stream = stalled.stream
                    assert isinstance(stream, trio.SocketStream)
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    await stalled.head()
                    (exchange,) = world.traffic.of("GET", "/events")[1:]
                    with trio.fail_after(REAL_LIMIT):
                        await flood(world, ear, 12)
                    assert not exchange.ended.is_set()
                    check_stream(ear.events)
                    at = trio.current_time()
                    await world.stop()
                    waited = trio.current_time() - at  # at least: it did stand in the way
                    assert waited > 0.9 * SETTINGS.send_deadline
                    await ear.ended.wait()
                    assert not ear.cut


@pytest.mark.promise("S3", "S6")
async def test_a_reader_that_has_fallen_off_the_log_is_ended_properly_when_it_reads_again(
    tmp_path: Path,
) -> None:
    """It is not cut for being slow. What it has got are whole events, and then the end."""
    model = ScriptedModel(*[[LARGE]] * 12)
    settings = Settings(log_bytes=800_000, drain_timeout=1.0)
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, settings=settings) as world:
            async with world.visit() as workspace, listening(workspace) as ear:
                async with world.call("GET", events_path(workspace)) as stalled:
                    head, _, first = (await stalled.head()).partition(b"\r\n\r\n")
                    assert b"transfer-encoding" not in head.lower()
                    await flood(world, ear, 12)
                    assert not world.traffic.of("GET", "/events")[1].ended.is_set()
                    body = first + await stalled.rest()
                events = decoded(body)
                assert len([e for e in events if e.type == "run_complete"]) < 12
                check_stream(events)
                async with listening(workspace) as again:
                    await workspace.create_session("Another")
                    await again.wait(lambda event: event.type == "session")


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.promise("S6", "R3", "R4", "W4")
@pytest.mark.parametrize("network", ["unix", "tcp"])
async def test_a_stop_answers_open_prompts_and_then_ends_streams_properly(
    tmp_path: Path, network: str
) -> None:
    """Both generations of HTTP: prompts answer 200 as cancelled, every stream hears of the end and
    then ends, nobody new gets in, and the address is free."""
    model = ScriptedModel([Say("Half"), Hang()], [Say("Half"), Hang()])
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, network=network) as world:
            async with desk(world) as place, AsyncExitStack() as stack:
                other = await place.workspace.create_session("Other")
                posts = [
                    await stack.enter_async_context(world.prompt(session, "hello"))
                    for session in (place.session, other)
                ]
                raw = await stack.enter_async_context(
                    world.call("GET", events_path(place.workspace))
                )
                first = (await raw.head()).partition(b"\r\n\r\n")[2]
                client = H2Client(await world.connect())
                stream = await client.send("GET", events_path(place.workspace))
                await client.wait_for(h2.events.ResponseReceived, stream)
                await place.ear.wait(
                    lambda e: (
                        is_answer(e)
                        and e.payload.session_id == other.id
                        and e.payload.text == "Half"
                    )
                )
                await place.ear.wait(
                    lambda e: (
                        is_answer(e)
                        and e.payload.text == "Half"
                        and e.payload.session_id == place.session.id
                    )
                )
                await world.stop()

                for post in posts:
                    reply = await post.reply()
                    assert (reply.status, reply.json["outcome"]) == (200, "cancelled")
                    assert (reply.json["text"], reply.headers["connection"]) == ("Half", "close")
                events = decoded(first + await raw.rest())
                assert len([e for e in events if e.type == "run_complete"]) == 2
                check_stream(events)
                assert await client.wait_for(h2.events.StreamEnded, stream) is not None
                await place.ear.ended.wait()
                assert not place.ear.cut
                assert len(place.ear.completions()) == 2
                await client.stream.aclose()
            assert world.address is not None
            with pytest.raises(OSError, match=GONE):
                await connect_to(world.address)


@pytest.mark.promise("W4", "R3", "C4")
async def test_a_stopping_server_takes_nothing_new_on_the_connections_that_it_has(
    tmp_path: Path,
) -> None:
    """While a run still unwinds: a create is refused with 503, a prompt with 404, and nobody can
    connect any more."""
    model = StubbornModel([Say("Half"), Hang()], seconds=0.5)
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model) as world:
            async with desk(world) as place, world.prompt(place.session, "hello") as post:
                idle = [await world.connect() for _ in range(2)]
                for stream in idle:
                    assert (await request(stream, "GET", "/v1/health")).status == 200
                await place.ear.wait_text("Half")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(world.stop)
                    await model.closing.wait()
                    body = {"path": str(world.directory), "client_id": new_id()}
                    create = await request(
                        idle[0], "POST", "/v1/workspaces", json.dumps(body).encode()
                    )
                    assert (create.status, create.json) == (
                        503,
                        {"message": "server is shutting down"},
                    )
                    prompt = {"session_id": place.session.id, "prompt": "late"}
                    late = await request(
                        idle[1], "POST", agent_path(place.session), json.dumps(prompt).encode()
                    )
                    assert (late.status, late.json) == (404, {"message": "workspace not found"})
                    assert not place.ear.completions()
                    assert world.address is not None
                    with pytest.raises(OSError, match=GONE):
                        await connect_to(world.address)
                assert (await post.reply()).json["outcome"] == "cancelled"
                for stream in idle:
                    await stream.aclose()
