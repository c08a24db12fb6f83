"""A whole server in a simulated run: it lives, stops, dies and comes back, and lets nothing real in."""

from __future__ import annotations

import pytest
import trio

from crush_trio.addresses import Address
from crush_trio.client import open_client
from crush_trio.errors import ResponseError, ServerUnavailableError
from crush_trio.ids import new_id
from crush_trio.providers.scripted import Call, Hang, Pause, Say, ScriptedModel, failing
from crush_trio.testing import (
    OutsideWorldError,
    Place,
    Refused,
    World,
    open_place,
    open_world,
    run,
    scripted_model,
)
from crush_trio.testing.pipes import CAPACITY
from crush_trio.testing.serving import TOKEN
from crush_trio.tools.scripted import Script
from crush_trio.wire.runs import RunResult
from history_kit import Heard, check_history, check_stream
from traced_kit import listening

PATIENCE = 1_000.0
"""Virtual seconds after which a test has failed."""

both = pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])


@both
@pytest.mark.promise("A1")
def test_only_the_token_opens_the_door(http2: bool) -> None:
    """The application stands behind its real guards: token, and names."""

    async def scenario() -> None:
        with trio.fail_after(PATIENCE):
            async with open_world(http2=http2) as world:
                for address, token, status in [
                    (world.address, "wrong", 401),
                    (Address("tcp", host="evil.example", port=8080), TOKEN, 403),
                ]:
                    stranger = open_client(
                        address, token=token, connect=world.network.connect, http2=http2
                    )
                    async with stranger as client:
                        with pytest.raises(ResponseError) as caught:
                            await client.version()
                    assert caught.value.status == status

    run(scenario)


@both
def test_a_turn_with_tools_and_a_failing_provider_takes_its_virtual_time(http2: bool) -> None:
    """A retry of 3 s, a command of an hour and a pause: none of it takes real time."""
    model = ScriptedModel(
        failing("rate_limited", retry_after=3),
        [Say("I build."), Call("bash", {"command": "make", "description": "build"})],
        [Pause(60), Say("Built.")],
    )

    async def scenario() -> float:
        commands = {"make": Script(stdout="ok\n", seconds=50)}
        with trio.fail_after(PATIENCE):
            async with open_world(model, commands=commands, http2=http2) as world:
                async with world.visit(yolo=True) as workspace:
                    session = await workspace.create_session("main")
                    assert (await session.prompt("build")).text == "Built."
                    check_history(await session.messages())
                    return trio.current_time()

    assert 113 <= run(scenario) < 120


@both
@pytest.mark.promise("C1", "R16")
def test_a_killed_server_comes_back_with_what_was_stored(http2: bool) -> None:
    """The prompter's connection ends; the run is told to be interrupted, and the next one works."""

    async def scenario() -> None:
        with trio.fail_after(PATIENCE):
            async with open_world(
                scripted_model({"hang": [[Say("Half of it"), Hang()]]}), http2=http2
            ) as world:
                async with world.visit(linger=True) as workspace:
                    session = await workspace.create_session("main")
                    async with trio.open_nursery() as nursery:

                        async def ask() -> None:
                            with pytest.raises(ServerUnavailableError):
                                await session.prompt("hang", run_id="r")

                        nursery.start_soon(ask)
                        await trio.sleep(1)
                        world.kill()
                    await world.server.ended.wait()
                    with pytest.raises(ServerUnavailableError):
                        await workspace.get()
                await world.start()
                async with world.visit() as again:
                    session = again.session(session.id)
                    told = [message.text for message in await session.messages()]
                    assert told == ["hang", "Half of it"]
                    assert (await session.prompt("go on")).text == "answer to go on"
                    check_history(await session.messages())

    run(scenario)


@pytest.mark.promise("S3")
@both
def test_a_stalled_reader_holds_up_neither_run_nor_stop(http2: bool) -> None:
    """It read nothing; the others get their answers, and the server its end."""

    async def scenario() -> None:
        with trio.fail_after(PATIENCE):
            async with open_world(http2=http2) as world:
                async with world.visit() as workspace, world.client() as reader:
                    session = await workspace.create_session("main")
                    stalled = reader.workspace(workspace.info)
                    async with listening(stalled), listening(workspace) as ear:
                        world.network.connections[1].stall()
                        text = f"{'word' * 1000} " * 50
                        assert text.strip() in (await session.prompt(text)).text
                        assert world.network.connections[1].answers.held == CAPACITY
                        await ear.done.wait()
                        begun = trio.current_time()
                        await world.stop()
                        assert trio.current_time() - begun < 10

    run(scenario)


def test_nobody_gets_in_while_there_is_no_server() -> None:
    """Before it starts again connections are refused, as a fault also does."""

    async def scenario() -> None:
        with trio.fail_after(PATIENCE):
            async with open_world() as world, world.client() as client:
                world.network.next(Refused())
                with pytest.raises(ServerUnavailableError, match="connection refused"):
                    await client.health()
                await client.health()
                await world.stop()
                with pytest.raises(ServerUnavailableError):
                    await client.health()
                await world.start()
                await client.health()

    run(scenario)


def test_threads_and_sockets_raise() -> None:
    """The world has neither, so whoever reaches for one is told."""

    async def scenario() -> None:
        async with open_world():
            with pytest.raises(OutsideWorldError):
                await trio.to_thread.run_sync(len, "")
            with pytest.raises(OutsideWorldError):
                trio.socket.socket()

    run(scenario)


# --- storms ------------------------------------------------------------------------------------

STORMY = 0.5
"""The chance that a connection has a fault."""


async def persistently(world: World, session_id: str, text: str) -> RunResult:
    """Prompt as a client does that knows of lost connections: the same run id until it is told."""
    run_id = new_id()
    while True:
        try:
            async with world.client() as client:
                with trio.move_on_after(20):  # a reader that has stalled never hears
                    workspace = client.workspace((await client.workspaces())[0])
                    return await workspace.session(session_id).prompt(text, run_id=run_id)
        except ServerUnavailableError:
            await trio.sleep(0.25)


async def storm(place: Place, http2: bool) -> tuple[str, int]:
    """Let two clients prompt one session over a bad network; return the trace and its faults."""
    with trio.fail_after(PATIENCE):
        async with open_world(place=place, http2=http2) as world, world.visit() as calm:
            session = await calm.create_session("main")
            results: list[RunResult] = []

            async def prompter(name: str) -> None:
                for number in range(3):
                    result = await persistently(world, session.id, f"{name} {number}")
                    results.append(result)

            async with listening(calm) as ear:
                world.begin_storm(STORMY)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(prompter, "a")
                    nursery.start_soon(prompter, "b")
                world.end_storm()
                messages = await session.messages()
            asked = sorted(message.text for message in messages if message.role == "user")
            assert asked == [f"{name} {number}" for name in "ab" for number in range(3)]
            assert {result.outcome for result in results} == {"completed"}
            assert sorted(result.text for result in results) == [f"answer to {it}" for it in asked]
            check_history(messages)
            check_stream([Heard(it.type, it.change, it.payload) for it in ear.events])
            faults = [each for each in world.trace.passed if each.what == "!"]
        return str(world.trace), len(faults)


@both
@pytest.mark.promise("R2", "R14", "R16", "S3")
def test_no_storm_loses_a_prompt_or_plays_it_twice(http2: bool) -> None:
    """Whatever happens to connections, whoever asks again gets the answer to what was asked."""
    faults = 0
    with open_place() as place:
        for seed in range(8):
            faults += run(storm, place, http2, seed=seed)[1]
        assert run(storm, place, http2, seed=3) == run(storm, place, http2, seed=3)
    assert faults > 15
