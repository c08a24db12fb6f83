"""A cancel through HTTP and in virtual time: whom it covers, and that it is a normal end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import h2.events
import pytest
import trio
from trio.testing import MockClock

from crush_trio.client.session import SessionClient
from crush_trio.providers.failures import status_error
from crush_trio.providers.scripted import (
    Answer,
    Call,
    Fail,
    Hang,
    Say,
    ScriptedModel,
    Think,
    WaitFor,
)
from crush_trio.wire.messages import WireMessage, WireToolCallPart
from history_kit import Heard, check_history, check_stream
from limits_kit import REAL_LIMIT
from people_kit import Desk, agent_path, desk, is_cancelled, noticed, runs_path
from serving_kit import H2Client, Reply
from tools_kit import is_alive, open_ear
from world_kit import StubbornModel, World, open_served_world, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


@pytest.mark.promise("R4", "R5", "R6", "R8", "R13", "R15")
async def test_a_cancel_covers_all_that_was_accepted_and_nothing_later(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The active run, a folded prompt, those that wait: all answer 200. What comes next runs."""
    gate = trio.Event()
    model = ScriptedModel([Call("ls"), WaitFor(gate)], [Say("Half"), Hang()], "later")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session, ear = place.session, place.ear
            async with AsyncExitStack() as stack:
                active = await stack.enter_async_context(world.prompt(session, "active"))
                await model.wait_request(1)
                folding = await stack.enter_async_context(world.prompt(session, "folding"))
                await world.traffic.wait("POST", "/agent", 2)
                await noticed()
                gate.set()
                await ear.wait_text("Half")  # the second step: the prompt has joined
                waiting = [
                    await stack.enter_async_context(
                        world.prompt(session, text, run_id=text, prefer="wait=60")
                    )
                    for text in ("w1", "w2")
                ]
                await world.traffic.wait("POST", "/agent", 4)
                await noticed()
                assert await session.queue() == ["w1", "w2"]
                receipt = await session.cancel(wait=60)
                later = await session.prompt("later")
                replies = [await call.reply() for call in (active, folding, *waiting)]

            assert [is_cancelled(reply) for reply in replies] == [True] * 4
            first, joined, *rest = (reply.json for reply in replies)
            assert (first["text"], joined["text"]) == ("Half", "Half")
            assert joined["folded_into"] == first["run_id"]
            assert [(reply["text"], reply["message_id"]) for reply in rest] == [("", "")] * 2
            ids = [first["run_id"], joined["run_id"], "w1", "w2"]
            assert [(run.run_id, run.outcome) for run in receipt.runs] == [
                (run_id, "cancelled") for run_id in ids
            ]
            assert receipt.settled
            assert (later.outcome, later.text) == ("completed", "later")
            await ear.wait_complete(later.run_id)
            assert sorted(done.run_id for done in ear.completions()) == sorted(
                [ids[0], "w1", "w2", later.run_id]
            )
            check_stream(ear.events)
            check_history(await session.messages())


@pytest.mark.promise("R6", "R15")
async def test_a_cancel_of_an_idle_session_says_so_and_hits_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Neither the next prompt of the session, nor the run of another one; nor an unknown session."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("elsewhere")], "next")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            other = await place.workspace.create_session("Other")
            async with world.prompt(other, "elsewhere") as elsewhere:
                await model.wait_request(1)
                for session in (place.session, place.workspace.session("unknown")):
                    receipt = await session.cancel()
                    assert (receipt.runs, receipt.settled) == ((), True)
                assert (await place.session.prompt("next")).text == "next"
                gate.set()
                assert (await elsewhere.reply()).json["text"] == "elsewhere"
            assert [done.text for done in place.ear.completions()] == ["next", "elsewhere"]


async def in_permission(world: World, place: Desk, model: ScriptedModel) -> None:
    model.then([Call("write", {"file_path": "f", "content": "x"})])
    await place.session.submit("hello", run_id="held")
    await place.ear.wait(lambda event: event.type == "permission_request")


async def in_retry(world: World, place: Desk, model: ScriptedModel) -> None:
    model.then(Fail(status_error(503, "overloaded")))
    await place.session.submit("hello", run_id="held")
    await model.wait_closed(1)
    await noticed()


async def in_first_byte(world: World, place: Desk, model: ScriptedModel) -> None:
    model.then(Hang())
    await place.session.submit("hello", run_id="held")
    await model.wait_request(1)


async def in_reasoning(world: World, place: Desk, model: ScriptedModel) -> None:
    model.then([Call("ls", chunk=1, pause=1.0), Hang()])
    await place.session.submit("hello", run_id="held")
    await place.ear.wait(lambda event: event.type == "message" and len(event.payload.parts) > 0)


@pytest.mark.promise("R5", "R4", "R9", "R11", "R1")
@pytest.mark.parametrize("reach", [in_permission, in_retry, in_first_byte, in_reasoning])
async def test_a_cancel_finds_a_run_wherever_it_is(
    autojump_clock: MockClock, tmp_path: Path, reach: Any
) -> None:
    """Waiting for a permission, for the next try, for a first byte, in the midst of a tool call."""
    model = ScriptedModel()
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            await reach(world, place, model)
            async with world.prompt(
                place.session, "hello", run_id="held", prefer="wait=60"
            ) as call:
                await world.traffic.wait("POST", "/agent", 2)
                await noticed()
                at = trio.current_time()
                receipt = await place.session.cancel(wait=60)
                reply = await call.reply()
            assert trio.current_time() == at
            assert is_cancelled(reply)
            assert [(run.run_id, run.outcome) for run in receipt.runs] == [("held", "cancelled")]
            assert model.open_streams == 0
            done = await place.ear.wait_complete("held")
            assert done.cancelled is True
            assert not place.ear.of("agent_event")
            check_history(await place.session.messages())
            model.then("fine")
            assert (await place.session.prompt("go on")).text == "fine"  # the model is strict
            check_stream(place.ear.events)


@pytest.mark.promise("R4", "R15", "R12", "R13")
async def test_what_unwinding_raises_does_not_turn_a_cancel_into_an_error(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The run ends as cancelled, the error stands beside it, and the next one waits for its end."""
    model = StubbornModel([Say("Half"), Hang()], "next", seconds=3)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session = place.session
            async with world.prompt(session, "hello", prefer="wait=60") as call:
                await place.ear.wait_text("Half")
                at_once = await session.cancel()
                assert not at_once.settled
                assert [run.outcome for run in at_once.runs] == [None]
                async with world.prompt(session, "next", prefer="wait=60") as behind:
                    await world.traffic.wait("POST", "/agent", 2)
                    await noticed()
                    at = trio.current_time()
                    again = await session.cancel(wait=1)  # covers the second prompt, too
                    assert trio.current_time() - at == pytest.approx(1, abs=0.01)
                    assert not again.settled
                    reply, second = await call.reply(), await behind.reply()
            assert trio.current_time() - at == pytest.approx(3, abs=0.01)
            assert is_cancelled(reply)
            assert reply.json["error"] == "the connection cannot be closed"
            assert is_cancelled(second)
            (run,) = at_once.runs
            assert [(line.run_id, line.outcome) for line in again.runs] == [
                (run.run_id, None),
                (second.json["run_id"], "cancelled"),
            ]
            done = await place.ear.wait_complete(run.run_id)
            assert (done.cancelled, done.error) == (True, "the connection cannot be closed")
            assert not [e for e in place.ear.of("agent_event") if e.type == "error"]
            assert (await session.prompt("next")).text == "next"


@pytest.mark.promise("R12", "R6", "R13")
async def test_a_prompt_posted_while_a_run_unwinds_waits_and_then_runs(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It was accepted after the cancel, so it is not covered, and it does not overlap the unwinding."""
    model = StubbornModel([Say("Half"), Hang()], "next", seconds=3)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            async with world.prompt(place.session, "hello") as call:
                await place.ear.wait_text("Half")
                await place.session.cancel()
                await model.closing.wait()
                async with world.prompt(place.session, "next") as behind:
                    await world.traffic.wait("POST", "/agent", 2)
                    await noticed()
                    assert len(model.requests) == 1
                    assert is_cancelled(await call.reply())
                    assert (await behind.reply()).json["text"] == "next"
            check_stream(place.ear.events)


@pytest.mark.promise("R1", "R4", "R5", "R9", "R10", "R15")
@pytest.mark.parametrize(
    ("answers", "steps"),
    [(["ok"], 24), ([[Think("Hm."), Say("Look."), Call("ls")], "ok"], 46)],
    ids=["a word", "a tool call"],
)
async def test_a_cancel_at_any_step_of_a_run_agrees_with_its_answer(
    autojump_clock: MockClock, tmp_path: Path, answers: list[Answer], steps: int
) -> None:
    """A prompt, and on the same connection a cancel that comes before it, then one step later with
    each try. Receipt, answer, events and history say the same; the next prompt is accepted."""
    model = ScriptedModel()
    outcomes: list[str] = []
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            client = H2Client(await world.connect())
            for step in range(-1, steps):
                session = await place.workspace.create_session("New Session")
                model.then(*answers)
                result, receipt = await race(client, session, step)
                model._script.clear()
                covered = [run["run_id"] for run in receipt["runs"]]
                assert covered == ([result["run_id"]] if result["cancelled"] else [])
                done = await place.ear.wait_complete(result["run_id"])
                assert (done.cancelled is True) == result["cancelled"]
                stored = await session.messages()
                check_history(stored)
                check_shown(place.ear.events, stored)
                assert (await session.prompt("go on")).text == "ok"
                outcomes.append(result["outcome"])
            check_stream(place.ear.events)
            await client.stream.aclose()
    assert (outcomes[0], outcomes[-1]) == ("completed", "completed")
    assert "cancelled" in outcomes


async def race(client: H2Client, session: SessionClient, step: int) -> list[Any]:
    """Prompt, cancel some scheduling steps later (or just before), and return both answers."""
    body = b'{"session_id":"%s","prompt":"hello"}' % session.id.encode()
    cancel = open_h2(client, "POST", f"{runs_path(session)}/cancel", b"") if step < 0 else 0
    prompt = open_h2(client, "POST", agent_path(session), body)
    await client.flush()
    for _ in range(step):
        await trio.lowlevel.checkpoint()
    cancel = cancel or open_h2(client, "POST", f"{runs_path(session)}/cancel", b"")
    await client.flush()
    return await read_h2(client, prompt, cancel)


def check_shown(events: list[Heard], stored: list[WireMessage]) -> None:
    """Check that what a stream has shown of the stored messages is in the store (R10)."""
    texts = {message.id: message for message in stored}
    for event in events:
        if event.type == "message" and event.payload.id in texts:
            assert texts[event.payload.id].text.startswith(event.payload.text)
            calls = [part for part in event.payload.parts if isinstance(part, WireToolCallPart)]
            assert len(calls) <= sum(
                isinstance(part, WireToolCallPart) for part in texts[event.payload.id].parts
            )


def open_h2(client: H2Client, method: str, path: str, body: bytes) -> int:
    """Put a request in the connection's buffer and return the id of its stream."""
    stream = client.connection.get_next_available_stream_id()
    headers = [(":method", method), (":authority", "t"), (":scheme", "http"), (":path", path)]
    client.connection.send_headers(stream, headers, end_stream=not body)
    if body:
        client.connection.send_data(stream, body, end_stream=True)
    return stream


async def read_h2(client: H2Client, *streams: int) -> list[Any]:
    """Read until all streams have ended; return their bodies."""
    bodies = dict.fromkeys(streams, b"")
    ended: set[int] = set()
    while len(ended) < len(streams):
        data = await client.stream.receive_some()
        assert data
        for event in client.connection.receive_data(bytes(data)):
            if isinstance(event, h2.events.DataReceived):
                assert event.stream_id is not None
                bodies[event.stream_id] += event.data or b""
            elif isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                ended.add(event.stream_id)
        await client.flush()
    return [Reply(200, {}, bodies[stream]).json for stream in streams]


@pytest.mark.promise("R11", "R15", "R5")
async def test_a_cancelled_commands_processes_are_dead_when_its_run_has_settled(
    tmp_path: Path,
) -> None:
    """A command and its child that ignore every polite signal; the receipt waits for their end."""
    ignore = "trap '' INT TERM"
    command = f"{ignore}; ({ignore}; echo $BASHPID > ear; sleep 300) & wait; wait"
    model = ScriptedModel([Call("bash", {"description": "Wait", "command": command})], "next")
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model) as world, desk(world, yolo=True) as place:
            async with (
                open_ear(world.directory) as ear,
                world.prompt(place.session, "hello") as call,
            ):
                pid = await ear.pid()
                at_once = await place.session.cancel()
                assert not at_once.settled
                assert is_alive(pid)
                receipt = await place.session.cancel(wait=5)
                assert receipt.settled
                assert not is_alive(pid)
                assert is_cancelled(await call.reply())
            check_history(await place.session.messages())
            assert (await place.session.prompt("next")).text == "next"
