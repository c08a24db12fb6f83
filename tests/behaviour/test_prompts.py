"""Prompts through HTTP, in virtual time: who is answered what, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.errors import ProviderError
from crush_trio.providers.base import ModelRequest
from crush_trio.providers.failures import status_error
from crush_trio.providers.scripted import Answer, Call, Fail, Hang, Say, ScriptedModel, WaitFor
from history_kit import check_history, check_stream, told
from people_kit import desk, noticed
from world_kit import open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


def failing(text: str = "no such model") -> Fail:
    return Fail(status_error(400, text))


@pytest.mark.promise("R12", "R14", "R1", "R8")
async def test_a_queued_prompt_is_answered_when_its_own_run_has_settled(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Three clients prompt one session; each waits for its turn and gets its own text."""
    gates = [trio.Event() for _ in range(3)]
    model = ScriptedModel(*([WaitFor(gate), Say(f"answer {n}")] for n, gate in enumerate(gates)))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session, ids = place.session, ["first", "second", "third"]
            async with (
                world.prompt(session, "p0", run_id=ids[0], prefer="wait=9999") as first,
                world.prompt(session, "p1", run_id=ids[1], prefer="wait=9999") as second,
                world.prompt(session, "p2", run_id=ids[2], prefer="wait=9999") as third,
            ):
                handlers = [await world.traffic.wait("POST", "/agent", n) for n in (1, 2, 3)]
                await noticed()
                order = [f"p{n}" for n in range(3)]
                assert await session.queue() == order[1:]
                for n, call in enumerate((first, second, third)):
                    await noticed()
                    assert [handler.ended.is_set() for handler in handlers] == [
                        index < n for index in range(3)
                    ]
                    gates[n].set()
                    reply = await call.reply()
                    assert reply.status == 200
                    assert reply.json["text"] == f"answer {n}"
                    assert (reply.json["run_id"], reply.json["outcome"]) == (ids[n], "completed")
                    await handlers[n].ended.wait()
            await place.ear.wait_complete("third")
            assert [done.run_id for done in place.ear.completions()] == ids
            check_stream(place.ear.events)


@pytest.mark.promise("R12", "R14")
async def test_a_prompt_without_a_run_id_folds_into_the_running_turn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It joins at the next step, gets that run's outcome, says so, and has no end of its own."""
    gate = trio.Event()
    model = ScriptedModel([Say("Looking."), Call("ls"), WaitFor(gate)], "Both done.")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session = place.session
            async with world.prompt(session, "one") as one:
                await model.wait_request(1)
                async with world.prompt(session, "two") as two:
                    await world.traffic.wait("POST", "/agent", 2)
                    await noticed()
                    assert await session.queue() == ["two"]
                    gate.set()
                    first, second = (await one.reply()).json, (await two.reply()).json
            assert "folded_into" not in first
            assert second["folded_into"] == first["run_id"] != second["run_id"]
            assert (second["text"], second["message_id"]) == ("Both done.", first["message_id"])
            assert [message.text for message in model.requests[1].messages][-1] == "two"
            assert [done.run_id for done in place.ear.completions()] == [first["run_id"]]
            users = [m.text for m in await session.messages() if m.role == "user"]
            assert users == ["one", "two"]
            check_stream(place.ear.events)


@pytest.mark.promise("R12")
async def test_sessions_run_side_by_side(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A session whose model hangs holds up nobody."""
    model = ScriptedModel([Say("x"), Hang()], "quick")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            other = await place.workspace.create_session("Other")
            async with world.prompt(place.session, "slow"):
                await model.wait_request(1)
                assert (await other.prompt("quick")).text == "quick"
                assert (await place.session.state()).is_busy


@pytest.mark.promise("R7", "R13", "C3")
async def test_a_failed_run_says_what_failed_and_concerns_nobody_else(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its POST gets 500 and the error; the prompt behind it and another session run on."""
    gate, slow = trio.Event(), trio.Event()

    def respond(request: ModelRequest) -> Answer:
        match request.messages[-1].text:
            case "fail":
                return [WaitFor(gate), failing("no such model")]
            case "slow":
                return [WaitFor(slow), Say("slow done")]
            case text:
                return f"{text} done"

    model = ScriptedModel(respond=respond)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session, ear = place.session, place.ear
            other = await place.workspace.create_session("Other")
            async with (
                world.prompt(other, "slow") as elsewhere,
                world.prompt(session, "fail") as failed,
                world.prompt(session, "next", run_id="next", prefer="wait=60") as behind,
            ):
                await world.traffic.wait("POST", "/agent", 3)
                await noticed()
                assert await session.queue() == ["next"]
                gate.set()
                reply, after = await failed.reply(), await behind.reply()
                slow.set()
                beside = await elsewhere.reply()
            assert reply.status == 500
            assert reply.json["message"] == "bad request: no such model"
            assert reply.json["session_id"] == session.id
            done = await ear.wait_complete(reply.json["run_id"])
            assert done.message_id == reply.json["message_id"] != ""
            assert (done.error, done.session_id) == ("bad request: no such model", session.id)
            (error,) = [e for e in ear.of("agent_event") if e.type == "error"]
            assert (error.run_id, error.error) == (done.run_id, "bad request: no such model")
            assert (after.status, after.json["text"]) == (200, "next done")
            assert (beside.status, beside.json["text"]) == (200, "slow done")
            check_history(await session.messages())
            check_stream(ear.events)


@pytest.mark.promise("R1", "R7", "C4")
async def test_a_prompt_for_an_unknown_session_fails_clearly(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """An open POST answers 400; a caller that was let go learns of it from its events."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, desk(world) as place:
            nowhere = place.workspace.session("nowhere")
            async with world.prompt(nowhere, "hello") as call:
                reply = await call.reply()
            text = "failed to get session: sql: no rows in result set"
            assert (reply.status, reply.json["message"]) == (400, text)
            assert reply.json["session_id"] == "nowhere"
            async with world.prompt(nowhere, "hello", run_id="mine") as call:
                accepted = await call.reply()
            assert (accepted.status, accepted.body) == (202, b"")
            done = await place.ear.wait_complete("mine")
            assert (done.error, done.message_id) == (text, "")
            errors = [e.run_id for e in place.ear.of("agent_event") if e.type == "error"]
            assert errors == [reply.json["run_id"], "mine"]
            assert await nowhere.messages() == []


@pytest.mark.promise("R7", "R10")
async def test_a_model_server_that_is_down_fails_the_run_after_its_retries(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Four requests, 5, 10 and 20 seconds apart; then a text that names what happened."""

    def down(_: ModelRequest) -> Answer:
        return Fail(
            ProviderError("connection refused", title="Stream transport error", retryable=True)
        )

    model = ScriptedModel(respond=down)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            begun = trio.current_time()
            async with world.prompt(place.session, "hello") as call:
                reply = await call.reply()
            assert trio.current_time() - begun == pytest.approx(35, abs=0.1)
            assert len(model.requests) == 4
            assert reply.status == 500
            text = "retry error: stream transport error: connection refused"
            assert reply.json["message"] == text
            assert told(await place.session.messages()) == ["user stop hello", "assistant error"]


@pytest.mark.promise("R8", "R12")
async def test_a_session_is_idle_when_the_end_of_its_last_run_is_heard(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A client that hears ``run_complete`` and asks sees an idle session, or the next run."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, world.visit() as workspace:
            session = await workspace.create_session("New Session")
            async with workspace.events() as stream:
                for _ in range(10):
                    await session.submit("hello")
                    async for event in stream:
                        if event.type == "run_complete":
                            break
                    hosted = world.host.get(workspace.id)
                    assert not hosted.data.busy(session.id)
                    assert not (await session.state()).is_busy
