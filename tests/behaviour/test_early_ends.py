"""The other ways in which a run is ended early, through HTTP and in virtual time: all end normally."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crush_trio.providers.scripted import (
    Hang,
    Pause,
    Say,
    ScriptedModel,
    WaitFor,
)
from history_kit import told
from people_kit import desk, is_cancelled, listening, noticed, runs_path
from world_kit import StubbornModel, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


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
                reply = await world.request("POST", f"{runs_path(session)}/prompts/clear")
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
    model = StubbornModel([Say("Half"), Hang()], seconds=2, title=[Pause(9), Say("Too late")])
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
                await ear.wait(lambda event: event.change == "deleted")
                await trio.sleep(60)  # its title comes, and finds no session
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
            async with (
                world.client() as client,
                client.open_workspace(str(world.directory), linger=True) as workspace,
            ):
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
            async with (
                world.client() as client,
                client.open_workspace(str(world.directory), linger=True) as workspace,
            ):
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
