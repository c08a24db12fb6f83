"""The two reasons for this program: a cancel by one client that looks like an error to another, and
a run that dies with the connection of whoever asked for it. In virtual time and over real sockets."""

from __future__ import annotations

from pathlib import Path

import h2.events
import msgspec
import pytest
import trio

from crush_trio.providers.scripted import Say, ScriptedModel, WaitFor
from crush_trio.server.model_script import open_model_server
from crush_trio.server.serve import open_provider
from crush_trio.wire.runs import CoveredRun, RunResult
from history_kit import check_history, check_stream, finish_of, told
from limits_kit import REAL_LIMIT
from people_kit import agent_path, desk, events_path, listening, noticed
from project_kit import config
from serving_kit import H2Client
from world_kit import World, open_served_world, open_world


def half_spoken() -> tuple[ScriptedModel, trio.Event]:
    """Return a model that stops in mid-sentence until the event is set, and says done after that."""
    gate = trio.Event()
    return ScriptedModel([Say("Half a "), WaitFor(gate), Say("sentence.")], "done"), gate


async def cancelled_by_another(world: World, model: ScriptedModel) -> None:
    """A prompts and waits, B cancels in mid-sentence; everybody hears of a cancel, nobody of an error."""
    async with world.visit() as a, world.visit() as b:
        session = await a.create_session("New Session")
        async with (
            listening(a, plain=True) as ear_a,
            listening(b) as ear_b,
            trio.open_nursery() as nursery,
        ):
            answers: list[RunResult] = []

            async def prompt() -> None:
                answers.append(await session.prompt("Say something."))

            nursery.start_soon(prompt)
            await ear_b.wait_text("Half a")
            assert (await session.state()).is_busy
            assert not answers
            receipt = await b.session(session.id).cancel(wait=5)
            end_a, end_b = await ear_a.wait_complete(), await ear_b.wait_complete()
            assert end_a == end_b

        (answer,) = answers
        assert (answer.outcome, answer.cancelled, answer.text) == ("cancelled", True, "Half a ")
        assert receipt.settled
        assert receipt.runs == (CoveredRun(answer.run_id, "cancelled"),)
        assert (end_a.run_id, end_a.message_id) == (answer.run_id, answer.message_id)
        assert (end_a.cancelled, end_a.text) == (True, "Half a ")
        for ear in (ear_a, ear_b):
            assert len(ear.completions()) == 1
            assert not ear.of("agent_event")
            last = [m for m in ear.of("message") if m.id == answer.message_id][-1]
            assert (finish_of(last), last.text) == ("canceled", "Half a ")
            check_stream(ear.events)
        stored = await session.messages()
        assert told(stored) == ["user stop Say something.", "assistant canceled Half a "]
        await model.wait_closed(2)  # of the answer and of its title
        assert (model.open_streams, model.abandoned_streams) == (0, 1)
        assert not (await session.state()).is_busy

        again = await session.prompt("And again.")
        assert (again.outcome, again.text) == ("completed", "done")
        check_history(await session.messages())


async def dropped_by_its_client(world: World, gate: trio.Event) -> None:
    """A prompts and is killed in mid-sentence; the run goes on, and B sees it finish."""
    async with world.visit() as b:
        session = await b.create_session("New Session")
        async with listening(b) as ear, world.prompt(session, "Say something.") as post:
            handler = await world.traffic.wait("POST", "/agent")
            await ear.wait_text("Half a")
            assert not handler.ended.is_set()
            post.drop()
            await handler.ended.wait()  # the server knows that nobody waits any more
            assert (await session.state()).is_busy
            gate.set()
            end = await ear.wait_complete()
        assert (end.text, end.cancelled, end.error) == (
            "Half a sentence.",
            msgspec.UNSET,
            msgspec.UNSET,
        )
        check_stream(ear.events)
        stored = await session.messages()
        assert told(stored) == ["user stop Say something.", "assistant end_turn Half a sentence."]


SEED_1 = ("R1", "R4", "R8", "R9", "R10", "R11", "R15")
SEED_2 = ("R2", "R3", "R8", "R10")


@pytest.mark.promise(*SEED_1)
async def test_a_cancel_by_another_client_is_a_normal_end_in_virtual_time(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A's open POST answers 200 with what was said, on every stream the run ends once and last."""
    model, _ = half_spoken()
    with trio.fail_after(60):
        async with open_world(tmp_path, model) as world:
            await cancelled_by_another(world, model)


@pytest.mark.promise(*SEED_1)
@pytest.mark.parametrize("network", ["unix", "tcp"])
async def test_a_cancel_by_another_client_is_a_normal_end_over_sockets(
    tmp_path: Path, network: str
) -> None:
    """The same, with the real listener and the real store."""
    model, _ = half_spoken()
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, network=network) as world:
            await cancelled_by_another(world, model)


@pytest.mark.promise(*SEED_1)
async def test_a_cancel_is_a_normal_end_with_a_model_behind_http(tmp_path: Path) -> None:
    """The same, with the real provider as well: the model's own server sees its reader leave."""
    model, _ = half_spoken()
    with trio.fail_after(REAL_LIMIT):
        async with (
            open_model_server(model) as base_url,
            open_served_world(
                tmp_path, document=config(base_url), open_provider=open_provider
            ) as world,
        ):
            await cancelled_by_another(world, model)


@pytest.mark.promise(*SEED_2)
async def test_a_run_outlives_the_client_that_asked_for_it_in_virtual_time(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Its POST ends with its connection; the run goes on to its normal end, seen by others."""
    model, gate = half_spoken()
    with trio.fail_after(60):
        async with open_world(tmp_path, model) as world:
            await dropped_by_its_client(world, gate)


@pytest.mark.promise(*SEED_2)
@pytest.mark.parametrize("network", ["unix", "tcp"])
async def test_a_run_outlives_the_client_that_asked_for_it_over_sockets(
    tmp_path: Path, network: str
) -> None:
    """The same, over TCP with a reset."""
    model, gate = half_spoken()
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, network=network) as world:
            await dropped_by_its_client(world, gate)


@pytest.mark.promise("R2", "R3", "W2", "C1")
async def test_a_run_that_nobody_watches_comes_to_its_end(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A client without a stream is killed: its hold expires, its run of minutes goes on all the
    same, and only the grace after the run closes the workspace."""
    words = [f"word{number} " for number in range(300)]
    model = ScriptedModel([Say("".join(words), pause=1.0)])
    with trio.fail_after(1000):
        async with open_world(tmp_path, model) as world:
            async with world.visit() as a:
                session = await a.create_session("New Session")
                async with world.prompt(session, "Count.") as post:
                    await model.wait_request(1)
                    begun = trio.current_time()
                    post.drop()
            await noticed()
            assert world.traffic.of("POST", "/agent")[0].ended.is_set()

            await trio.sleep_until(begun + 290)  # far beyond the hold of 30 s and the grace of 10 s
            (workspace,) = world.host.workspaces
            assert workspace.busy
            await trio.sleep_until(begun + 299 + 9)
            assert world.host.workspaces == [workspace]
            assert not workspace.busy
            await trio.sleep_until(begun + 299 + 11)
            assert world.host.workspaces == []

            async with world.visit() as b:
                stored = await b.session(session.id).messages()
            assert told(stored) == ["user stop Count.", "assistant end_turn " + "".join(words)]


@pytest.mark.promise("R2")
@pytest.mark.parametrize("end", ["RST_STREAM", "GOAWAY", "cut"])
async def test_a_run_outlives_the_end_of_its_http_2_stream(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, end: str
) -> None:
    """A reset of the prompt's stream spares the event stream beside it on the same connection; a
    goodbye, or the loss of the connection, ends both and not the run."""
    model, gate = half_spoken()
    with trio.fail_after(60):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            client = H2Client(await world.connect())
            events = await client.send("GET", events_path(place.workspace))
            await client.wait_for(h2.events.ResponseReceived, events)
            body = msgspec.json.encode({"session_id": place.session.id, "prompt": "hello"})
            path = agent_path(place.session)
            prompt = await client.send("POST", path, end=False, data=body)
            client.connection.end_stream(prompt)
            await client.flush()
            handler = await world.traffic.wait("POST", "/agent")
            await place.ear.wait_text("Half a")
            assert not handler.ended.is_set()
            match end:
                case "RST_STREAM":
                    client.connection.reset_stream(prompt)
                    await client.flush()
                case "GOAWAY":
                    client.connection.close_connection()
                    await client.flush()
                    await client.stream.aclose()
                case _:
                    await client.stream.aclose()
            await handler.ended.wait()
            (stream,) = world.traffic.of("GET", "/events")[1:]
            await noticed()
            assert stream.ended.is_set() == (end != "RST_STREAM")
            gate.set()
            done = await place.ear.wait_complete()
            assert (done.text, done.cancelled) == ("Half a sentence.", msgspec.UNSET)
            stored = await place.session.messages()
            assert told(stored)[-1] == "assistant end_turn Half a sentence."
            await client.stream.aclose()
