"""Every way in which a run is ended early, through HTTP and in virtual time: each is a normal end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import h2.events
import pytest
import trio
from trio.testing import MockClock

from crush_trio.client.session import SessionClient
from crush_trio.providers.base import Delta, ModelRequest
from crush_trio.providers.failures import status_error
from crush_trio.providers.scripted import Answer, Call, Fail, Hang, Say, ScriptedModel, WaitFor
from serving_kit import H2Client, Reply
from tools_kit import is_alive, open_ear
from world_kit import (
    Desk,
    World,
    agent_path,
    check_history,
    check_stream,
    desk,
    listening,
    noticed,
    open_served_world,
    open_world,
    told,
)

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


class StubbornModel(ScriptedModel):
    """A model whose connection takes its time to close, and then fails to."""

    def __init__(self, *answers: Answer, seconds: float) -> None:
        super().__init__(*answers)
        self.seconds = seconds
        self.closing = trio.Event()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        async with super().stream(request) as deltas:
            try:
                yield deltas
            except trio.Cancelled:
                self.closing.set()
                with trio.CancelScope(deadline=trio.current_time() + self.seconds, shield=True):
                    await trio.sleep_forever()
                raise RuntimeError("the connection cannot be closed") from None


def is_cancelled(reply: Reply) -> bool:
    """Whether a POST was answered as one whose run was cancelled."""
    return reply.status == 200 and reply.json["cancelled"] and reply.json["outcome"] == "cancelled"


def paths(session: SessionClient) -> str:
    """Return the path of a session's cancel and queue."""
    return f"/v1{session._runs_path}"


# --- a cancel -----------------------------------------------------------------------------------


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


@pytest.mark.promise("R5", "R1", "R4", "R15")
@pytest.mark.parametrize("turn", range(20))
async def test_a_cancel_that_races_with_its_prompt_agrees_with_it(
    autojump_clock: MockClock, tmp_path: Path, turn: int
) -> None:
    """Prompt and cancel in one write of one connection. Whoever is first, the receipt and the
    answer say the same."""
    model = ScriptedModel("done")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session = place.session
            client = H2Client(await world.connect())
            body = b'{"session_id":"%s","prompt":"hello"}' % session.id.encode()
            prompt = open_h2(client, "POST", agent_path(session), body)
            cancel = open_h2(client, "POST", f"{paths(session)}/cancel", b"")
            for _ in range(turn % 4):
                await trio.lowlevel.checkpoint()
            await client.flush()
            result, receipt = await read_h2(client, prompt, cancel)
            covered = [run["run_id"] for run in receipt["runs"]]
            assert covered == ([result["run_id"]] if result["cancelled"] else [])
            done = await place.ear.wait_complete(result["run_id"])
            assert (done.cancelled is True) == result["cancelled"]
            check_stream(place.ear.events)
            await client.stream.aclose()


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


# --- the other ends ---------------------------------------------------------------------------------


@pytest.mark.promise("R3", "R4", "R8", "R14")
async def test_a_clear_ends_those_that_wait_and_spares_the_active_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The cleared ones answer 200 as cancelled, without a message."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("done")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session = place.session
            async with world.prompt(session, "active") as active, AsyncExitStack() as stack:
                await model.wait_request(1)
                waiting = [
                    await stack.enter_async_context(world.prompt(session, text))
                    for text in ("w1", "w2")
                ]
                await world.traffic.wait("POST", "/agent", 3)
                await noticed()
                assert (await session.queued(), await session.queue()) == (2, ["w1", "w2"])
                reply = await world.request("POST", f"{paths(session)}/prompts/clear")
                assert (reply.status, reply.body) == (200, b"")
                assert (await session.queued(), await session.queue()) == (0, [])
                assert [is_cancelled(await call.reply()) for call in waiting] == [True, True]
                gate.set()
                assert (await active.reply()).json["text"] == "done"
            assert [done.cancelled for done in place.ear.completions()][:2] == [True, True]
            users = [m.text for m in await session.messages() if m.role == "user"]
            assert users == ["active"]


@pytest.mark.promise("R3", "R4", "R8", "S4")
async def test_the_deletion_of_a_session_is_its_last_event(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its runs end as cancelled and are answered, then it is gone, then the reply comes."""
    model = StubbornModel([Say("Half"), Hang()], seconds=2)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session, ear = place.session, place.ear
            async with (
                world.prompt(session, "hello") as call,
                world.prompt(session, "behind", run_id="behind", prefer="wait=60") as behind,
            ):
                await ear.wait_text("Half")
                await world.traffic.wait("POST", "/agent", 2)
                await noticed()
                await session.delete()
                last = [event for event in ear.events if concerns(event, session.id)][-1]
                assert (last.type, last.change) == ("session", "deleted")
                assert [is_cancelled(await each.reply()) for each in (call, behind)] == [True] * 2
            assert len(ear.completions()) == 2
            assert await session.messages() == []
            again = await world.request("DELETE", f"/v1{session._path}")
            assert again.status == 400
            assert session.id in again.json["message"]


def concerns(event: Any, session_id: str) -> bool:
    """Whether an event is about a session."""
    payload = event.payload
    return session_id in (
        getattr(payload, "session_id", ""),
        payload.id if event.type == "session" else "",
    )


@pytest.mark.promise("R3", "R4", "W2", "W4", "S6")
@pytest.mark.parametrize("goodbye", ["release", "retire"])
async def test_the_last_clients_goodbye_ends_its_runs_as_cancelled(
    autojump_clock: MockClock, tmp_path: Path, goodbye: str
) -> None:
    """The id is withdrawn at once; the POST of a client that only prompts answers 200; what was
    said is stored; the stream ends properly."""
    model = ScriptedModel([Say("Half"), Hang()])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            async with world.client() as client, client.open_workspace(
                str(world.directory), linger=True
            ) as workspace:
                session = await workspace.create_session("New Session")
                async with world.prompt(session, "hello") as call:
                    await model.wait_request(1)
                    await trio.sleep(1)
                    if goodbye == "release":
                        await workspace.release()
                    else:
                        await client.retire()
                    gone = await world.request("GET", f"/v1/workspaces/{workspace.id}")
                    assert (gone.status, gone.json) == (404, {"message": "workspace not found"})
                    assert is_cancelled(await call.reply())
            async with world.visit() as again:
                assert again.id != workspace.id
                stored = await again.session(session.id).messages()
            assert told(stored) == ["user stop hello", "assistant canceled Half"]


@pytest.mark.promise("R3", "W2", "R2")
async def test_a_stream_that_ends_after_a_release_ends_no_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Released with an open stream, a client stays until the stream ends; and that is no goodbye."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("done")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            async with world.client() as client, client.open_workspace(
                str(world.directory), linger=True
            ) as workspace:
                session = await workspace.create_session("New Session")
                async with world.prompt(session, "hello") as call:
                    async with listening(workspace):
                        await model.wait_request(1)
                        await workspace.release()
                        assert world.host.get(workspace.id).busy
                    await noticed()
                    await trio.sleep(100)
                    assert world.host.get(workspace.id).busy
                    gate.set()
                    assert (await call.reply()).json["text"] == "done"
            await trio.sleep(11)
            assert world.host.workspaces == []


@pytest.mark.promise("R11", "R15", "R5")
async def test_a_cancelled_commands_processes_are_dead_when_its_run_has_settled(
    tmp_path: Path,
) -> None:
    """A command and its child that ignore every polite signal; the receipt waits for their end."""
    ignore = "trap '' INT TERM"
    command = f"{ignore}; ({ignore}; echo $BASHPID > ear; sleep 60) & wait; wait"
    model = ScriptedModel([Call("bash", {"description": "Wait", "command": command})], "next")
    with trio.fail_after(10):
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
