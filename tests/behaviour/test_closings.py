"""How a workspace closes, through HTTP: orderly, for everybody, and without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import new_id
from crush_trio.providers.scripted import Call, Hang, Say, ScriptedModel, WaitFor
from crush_trio.settings import Settings
from history_kit import check_history, check_stream, finish_of, told
from limits_kit import REAL_LIMIT
from people_kit import GRACE, create_workspace, desk, listening, noticed, status_of
from project_kit import config, write_config
from world_kit import StubbornModel, open_served_world, open_world

LIMIT = 7200
"""Virtual seconds; a test that hangs gets there at once."""


@pytest.mark.promise("W3", "W2", "W4", "R4")
@pytest.mark.parametrize("goodbye", ["release", "retire"])
async def test_a_create_while_a_workspace_closes_waits_for_a_fresh_one(
    autojump_clock: MockClock, tmp_path: Path, goodbye: str
) -> None:
    """The dying one is unreachable from the goodbye on; what its run had said is in the new one."""
    model = StubbornModel([Say("Half"), Hang()], "fresh", seconds=2)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            client = new_id()
            old = (await create_workspace(world, str(world.directory), client)).json["id"]
            path = f"/v1/workspaces/{old}"
            session = (await world.request("POST", f"{path}/sessions", {"title": "T"})).json["id"]
            prompt = {"session_id": session, "prompt": "hello"}
            async with world.call("POST", f"{path}/agent", prompt) as call:
                await model.wait_request(1)
                await trio.sleep(1)
                goodbyes = {
                    "release": f"{path}?client_id={client}",
                    "retire": f"/v1/clients/{client}",
                }
                assert (await world.request("DELETE", goodbyes[goodbye])).status == 200
                at = trio.current_time()
                for method, end, body in (
                    ("GET", "", None),
                    ("GET", "/sessions", None),
                    ("POST", "/agent", prompt),
                    ("GET", f"/events?client_id={new_id()}", None),
                ):
                    gone = await world.request(method, path + end, body)
                    assert (gone.status, gone.json) == (404, {"message": "workspace not found"})
                assert trio.current_time() == at  # while the run unwinds
                assert not world.traffic.of("POST", "/agent")[0].ended.is_set()
                async with world.visit() as fresh:
                    assert fresh.id != old
                    assert trio.current_time() - at == pytest.approx(2, abs=0.01)
                    reply = await call.reply()
                    assert (reply.status, reply.json["outcome"]) == (200, "cancelled")
                    stored = await fresh.session(session).messages()
                    assert told(stored) == ["user stop hello", "assistant canceled Half"]
                    check_history(stored)
                    assert (await fresh.session(session).prompt("go on")).text == "fresh"


@pytest.mark.promise("W2", "S6")
async def test_the_retirement_of_the_last_client_ends_its_open_stream_properly(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its claim goes although its stream is open, and with the workspace the stream."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, world.client() as client:
            async with client.open_workspace(str(world.directory), linger=True) as workspace:
                async with listening(workspace) as ear:
                    await client.retire()
                    await ear.ended.wait()
                    assert not ear.cut
                    assert await status_of(world, workspace.id) == 404


@pytest.mark.promise("W4", "W2")
async def test_two_workspaces_on_one_data_directory_share_sessions_and_not_their_end(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A session is busy in both; each hears its events; the close of one ends only its own runs."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("from a")], [Say("Half"), Hang()])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            neighbour = tmp_path / "neighbour"
            neighbour.mkdir()
            data = str(tmp_path / "data")
            write_config(neighbour, config())
            for place in (world.directory, neighbour):
                write_config(place, config(options={"data_directory": data}))
            async with (
                desk(world) as a,
                world.client() as client,
                client.open_workspace(str(neighbour)) as b,
                listening(b) as ear_b,
            ):
                mine = await b.create_session("Mine")
                async with (
                    world.prompt(a.session, "a") as call_a,
                    world.prompt(mine, "b") as call_b,
                ):
                    await ear_b.wait_text("Half")
                    assert (await b.session(a.session.id).state()).is_busy
                    assert (await b.agent()).is_busy
                    await client.retire()
                    assert (await call_b.reply()).json["outcome"] == "cancelled"
                    await ear_b.ended.wait()
                    gate.set()
                    assert (await call_a.reply()).json["text"] == "from a"
                await a.ear.wait_complete(number=2)
                assert (await a.workspace.session(mine.id).get()).title
                for ear in (a.ear, ear_b):
                    check_stream(ear.events)


@pytest.mark.promise("W4", "S6")
@pytest.mark.parametrize("how", ["expiry", "goodbye", "stop"])
async def test_streams_hear_of_the_end_of_all_runs_before_they_end(
    autojump_clock: MockClock, tmp_path: Path, how: str
) -> None:
    """Whatever closes the workspace; an expiry waits for the runs."""
    model = ScriptedModel([Say("Half"), Hang()]) if how != "expiry" else ScriptedModel("done")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, world.client() as client:
            async with client.open_workspace(str(world.directory), linger=True) as workspace:
                session = await workspace.create_session("New Session")
                async with listening(workspace) as ear:
                    await session.submit("hello", run_id="mine")
                    if how == "expiry":
                        await ear.wait_complete("mine")
                        hosted = world.host.get(workspace.id)
                    else:
                        await ear.wait_text("Half")
                        await (client.retire() if how == "goodbye" else world.stop())
                        await ear.ended.wait()
                        assert not ear.cut
                        assert ear.completions("mine")[0].cancelled is True
                        check_stream(ear.events)
                        return
            await noticed()
            await trio.sleep(GRACE + 1)
            assert hosted.hub.closed


def threads() -> int:
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def descriptors() -> set[str]:
    """Return what this process's file descriptors are open on, but for those of Trio and pipes."""
    found: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except FileNotFoundError:
            continue
    return found


def children() -> list[str]:
    """Return the processes that this one has started."""
    return [
        pid
        for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]


@pytest.mark.promise("W5", "R11")
async def test_nothing_of_a_workspace_is_left_when_it_has_closed(tmp_path: Path) -> None:
    """No task, thread, file descriptor, socket or process, not even of a background job that was
    left running; however often it is opened."""
    job = {"description": "Wait", "command": "sleep 300", "run_in_background": True}
    seen: list[tuple[int, set[str]]] = []
    others = set(children())  # of a test before this one
    with trio.fail_after(REAL_LIMIT):
        model = ScriptedModel()
        async with open_served_world(tmp_path, model, settings=Settings(kill_grace=0.2)) as world:
            await noticed(0.05)  # until the server has all tasks that it begins with
            before = trio.lowlevel.current_statistics().tasks_living
            for _ in range(2):
                model.then([Call("bash", job)], "started")
                async with (
                    world.client() as client,
                    client.open_workspace(str(world.directory), yolo=True) as workspace,
                ):
                    session = await workspace.create_session("New Session")
                    async with listening(workspace) as ear:
                        assert (await session.prompt("hello")).text == "started"
                        assert len(set(children()) - others) == 1
                        await workspace.release()
                        await ear.wait_complete()
                await world.host.wait_closed()
                await noticed(0.05)
                assert not set(children()) - others
                assert not [name for name in descriptors() if str(world.directory) in name]
                seen.append((threads(), {name for name in descriptors() if "socket" in name}))
                assert trio.lowlevel.current_statistics().tasks_living <= before
    first, *rest = seen
    assert all(count <= first[0] for count, _ in rest)  # idle workers are Trio's, and are reused
    assert len({len(sockets) for _, sockets in seen}) == 1


@pytest.mark.promise("W4", "R1", "R3", "R4", "R9")
async def test_a_goodbye_at_any_step_of_a_prompt_gets_it_a_clean_answer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A prompt that meets the end of its workspace is refused, or answers 200 with the outcome that
    is stored; never an error, never silence."""
    answers: list[str] = []
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            for steps in range(-20, 45, 2):
                client = new_id()
                path = f"/v1/workspaces/{(await create_workspace(world, str(world.directory), client)).json['id']}"
                session = (await world.request("POST", f"{path}/sessions", {"title": "T"})).json
                prompt = {"session_id": session["id"], "prompt": "hello"}

                async def retire(client: str = client, steps: int = steps) -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    assert (await world.request("DELETE", f"/v1/clients/{client}")).status == 200

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(retire)
                    for _ in range(-steps):
                        await trio.lowlevel.checkpoint()
                    reply = await world.request("POST", f"{path}/agent", prompt)
                await world.host.wait_closed()
                answers.append(reply.json.get("outcome", reply.json.get("message")))
                async with world.visit(linger=False) as again:
                    stored = await again.session(session["id"]).messages()
                    check_history(stored)
                    if reply.status != 200:
                        assert (reply.status, stored) == (404, [])
                    else:
                        finish = {"completed": "end_turn", "cancelled": "canceled"}[answers[-1]]
                        assert finish_of(stored[-1]) == finish
                await world.host.wait_closed()
    assert set(answers) == {"workspace not found", "cancelled", "completed"}
