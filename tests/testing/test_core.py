"""A world without HTTP: its clients get what clients get, and its disks survive what disks survive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

from crush_trio.hub import Wish
from crush_trio.providers.scripted import Call, Hang, Say, WaitFor
from crush_trio.testing import Core, Place, open_core, open_place, run, scripted_model
from crush_trio.testing.clients import Client
from crush_trio.testing.place import BESIDE
from crush_trio.testing.program import is_program
from crush_trio.tools.scripted import Script
from crush_trio.wire.events import RunComplete
from crush_trio.wire.messages import WireMessage


@pytest.fixture(name="place", scope="module")
def _place() -> Iterator[Place]:
    with open_place() as place:
        yield place


async def settle_in(core: Core, name: str = "a") -> Client:
    """Return a client in a workspace with a session and a stream."""
    client = core.client(name)
    assert (await core.done(client.join())).status == 200
    assert (await core.done(client.create_session())).status in {200, 500}
    client.listen()
    return client


def told(client: Client) -> list[str]:
    """Return what a client's stream told: texts of answers, and ends."""
    found: list[str] = []
    for event in client.streams[-1].events:
        match event.payload:
            case WireMessage(role="assistant") as message:
                found.append(message.text)
            case RunComplete(run_id=run_id):
                found.append(f"end of {run_id}")
            case _:
                pass
    return found


class Steps(trio.abc.Instrument):
    """Notes every step, and whose it is."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.programs: set[str] = set()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.names.append(task.name)
        if is_program(task):
            self.programs.add(task.name)


def test_a_prompt_is_answered_as_over_http(place: Place) -> None:
    """The POST waits for the run; the stream tells of the answer, and last of its end."""

    async def scenario() -> None:
        async with open_core(place=place) as core:
            a = await settle_in(core)
            reply = await core.done(a.prompt("hello", "r"))
            assert (reply.status, reply.body.text) == (200, "answer to hello")
            assert await core.until(lambda: "end of r" in told(a))
            assert told(a)[-2:] == ["answer to hello", "end of r"]
            refused = await core.done(a.prompt("", "r2"))
            assert (refused.status, refused.error) == (400, "prompt is empty")
            core.client("b").workspace_id = "nobody's"
            assert (await core.done(core.client("b").prompt("hello"))).status == 404
            assert core.complaints == []
        assert a.streams[0].ended

    run(scenario)


def test_the_same_seed_gives_the_same_world(place: Place) -> None:
    """Steps, ids and frames are the same, byte for byte; another seed gives others."""

    def trace(seed: int) -> tuple[list[str], list[bytes]]:
        async def scenario() -> list[bytes]:
            async with open_core(place=place) as core:
                a = await settle_in(core)
                posts = [a.prompt(name, name) for name in ("one", "two", "three")]
                for post in posts:
                    await core.done(post)
                return [event.frame for event in a.streams[0].events]

        steps = Steps()
        frames = run(scenario, seed=seed, instruments=[steps])
        return steps.names, frames

    assert trace(1) == trace(1)
    assert len({tuple(trace(seed)[0]) for seed in range(5)}) == 5


def test_the_program_is_told_apart_from_its_test(place: Place) -> None:
    """Whoever starts it: a request's task, a run and a writer are the program's; the test is not."""

    async def scenario() -> None:
        async with open_core(place=place) as core:
            a = await settle_in(core)
            await core.done(a.prompt("hello", "r"))

    steps = Steps()
    run(scenario, instruments=[steps])
    assert {"run r", "store writer", "a prompts 'hello'", "title"} <= steps.programs
    mine = {name for name in steps.names if name not in steps.programs}
    assert any("running" in name for name in mine), "the test's own task"
    assert not any("crush_trio.hub" in name or name.startswith("run ") for name in mine)


def test_a_restart_keeps_what_was_stored(place: Place) -> None:
    """An orderly stop cancels what runs and stores its end; the next life reads all of it."""

    async def scenario() -> None:
        model = scripted_model({"hello": [[Say("Half a "), Hang()]]})
        async with open_core(model, place=place) as core:
            a = await settle_in(core)
            post = a.prompt("hello", "r")
            assert await core.until(lambda: "Half a " in told(a))
            await core.restart()
            assert post.reply is not None
            assert (post.reply.status, post.reply.body.outcome) == (200, "cancelled")
            assert (await core.done(a.join())).status == 200
            stored = (await core.done(a.messages())).body
            assert [message.text for message in stored] == ["hello", "Half a "]
            assert (await core.done(a.prompt("again", "r2"))).body.text == "answer to again"

    run(scenario)


def test_a_killed_server_loses_only_what_was_not_committed(place: Place) -> None:
    """Whoever waited has lost the connection; the next life finds the run interrupted (C1)."""

    async def scenario() -> None:
        model = scripted_model({"hello": [[Say("Half a "), Hang()]]})
        async with open_core(model, place=place) as core:
            a = await settle_in(core)
            post = a.prompt("hello", "r")
            assert await core.until(lambda: "Half a " in told(a))
            life = core.life
            assert life is not None
            life.kill()
            assert core.life is None
            assert (await core.done(a.prompt("into the dark"))).lost
            await core.restart()
            assert post.reply is None
            await core.done(a.join())
            stored = (await core.done(a.messages())).body
            assert [message.text for message in stored] == ["hello", "Half a "]
            assert stored[-1].finish.message == "Interrupted"

    run(scenario)


def test_a_disk_fails_or_waits_as_told(place: Place) -> None:
    """A write that fails is an error of whoever wrote; a stuck one is written when it is let go."""

    async def scenario() -> None:
        async with open_core(place=place) as core:
            a = await settle_in(core)
            (disk,) = core.disks.all()
            disk.failing = 1
            reply = await core.done(a.create_session("other"))
            assert (reply.status, "full" in reply.error, disk.failed) == (500, True, 1)
            disk.stuck = True
            waiting = a.create_session("other")
            assert not await core.until(waiting.done.is_set, 50)
            disk.let_go()
            assert (await core.done(waiting)).status == 200
            assert disk.read("SELECT count(*) FROM sessions") == [(2,)]

    run(scenario)


def test_commands_are_scripted_and_answers_count_once(place: Place) -> None:
    """A tool's command asks, the first answer wins, and its script runs in virtual time."""

    async def scenario() -> Any:
        gate = trio.Event()
        script = [
            [Call("bash", {"command": "make", "description": "d"})],
            [WaitFor(gate), Say("x")],
        ]
        model = scripted_model({"hello": script})
        async with open_core(
            model, commands={"make": Script("built\n", seconds=50)}, place=place
        ) as core:
            a, b = await settle_in(core), core.client("b")
            await core.done(b.join())
            post = a.prompt("hello", "r")
            workspace = core.lives[0].host.workspaces[0]
            assert await core.until(workspace.permissions.open_requests)
            answers = [await core.done(each.answer()) for each in (a, b)]
            assert [reply.body for reply in answers] == [True, False]
            begun = trio.current_time()
            gate.set()
            assert (await core.done(post)).status == 200
            assert trio.current_time() - begun >= 50
            assert core.shell.running == []

    run(scenario)


@pytest.mark.parametrize("killed", [True, False])
def test_a_workspace_id_that_was_open_works_on_the_next_server(place: Place, killed: bool) -> None:
    """Without joining again; one that was said goodbye to is gone."""

    async def scenario() -> None:
        async with open_core(place=place, saves=True) as core:
            a, b = await settle_in(core), core.client("b")
            await core.done(b.join(BESIDE))
            await core.done(b.release())
            await trio.sleep(1)  # what changes is saved behind the answer
            life = core.life
            assert life is not None
            if killed:
                life.kill()
            await core.restart()
            assert core.remembered == {a.workspace_id}
            reply = await core.done(a.prompt("hello", "r"))
            assert (reply.status, reply.body.text) == (200, "answer to hello")
            assert (await core.done(b.prompt("hello"))).status == 404
            assert core.complaints == []

    run(scenario)


def test_a_stream_of_deltas_is_put_together_as_clients_do(place: Place) -> None:
    """Its bytes hold deltas; what the world shows of it are whole messages."""

    async def scenario() -> None:
        model = scripted_model({"hello": [[Say("one two three", pause=1)]]})
        async with open_core(model, place=place) as core:
            a = await settle_in(core)
            stream = a.listen(Wish(deltas=True))
            await core.done(a.prompt("hello", "r"))
            await core.until(lambda: told(a)[-1:] == ["end of r"])
            texts = told(a)
            assert texts == [*texts[:-2], "one two three", "end of r"]
            assert len(texts) > 4
            assert stream.last_id is not None

    run(scenario)
