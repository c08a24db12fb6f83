"""How a prompt's POST is answered, in virtual time: who waits for how long, and who asks again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crush_trio.providers.failures import status_error
from crush_trio.providers.scripted import Fail, Say, ScriptedModel, WaitFor
from history_kit import told
from people_kit import desk
from world_kit import World, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


def failing(text: str = "no such model") -> Fail:
    return Fail(status_error(400, text))


async def create(world: World, version: str) -> str:
    """Create the workspace as a client with a version, and return its id."""
    body = {
        "path": str(world.directory),
        "client_id": "8c7f1d0e-5d2b-4a86-9a4e-7b2b7d2f9f11",
        "version": version,
    }
    return (await world.request("POST", "/v1/workspaces", body)).json["id"]


GO = "Go-http-client/1.1"
CASES: list[tuple[str, str, dict[str, str], str, int, str]] = [
    # claim's version, run id, headers, what is left to happen, status, Preference-Applied
    ("", "", {}, "settles", 200, ""),
    ("", "mine", {}, "nothing", 202, ""),
    ("0.90.0", "", {"User-Agent": GO}, "nothing", 202, ""),
    ("0.76.0", "", {"User-Agent": GO}, "nothing", 202, ""),
    ("v0.76.1-rc1", "", {"User-Agent": GO}, "nothing", 202, ""),
    ("devel", "", {"User-Agent": GO}, "nothing", 202, ""),
    ("0.75.9", "", {"User-Agent": GO}, "settles", 200, ""),
    ("", "", {"User-Agent": GO}, "settles", 200, ""),
    ("0.90.0", "", {"User-Agent": "curl/8"}, "settles", 200, ""),
    ("0.75.9", "mine", {"User-Agent": GO}, "nothing", 202, ""),
    ("0.90.0", "", {"User-Agent": GO, "Prefer": "wait=60"}, "settles", 200, "wait=60"),
    ("", "mine", {"Prefer": "wait=60"}, "settles", 200, "wait=60"),
    ("", "", {"Prefer": "respond-async"}, "nothing", 202, "respond-async"),
    ("", "", {"Prefer": "wait=5"}, "waits 5", 202, "wait=5"),
    ("", "mine", {"Prefer": "respond-async, wait=5"}, "waits 5", 202, "wait=5"),
    ("", "", {"Prefer": "wait=soon"}, "settles", 200, ""),
]


@pytest.mark.promise("R2")
@pytest.mark.parametrize(("version", "run_id", "headers", "until", "status", "applied"), CASES)
async def test_each_kind_of_caller_waits_as_long_as_it_wants_to(
    autojump_clock: MockClock,
    tmp_path: Path,
    version: str,
    run_id: str,
    headers: dict[str, str],
    until: str,
    status: int,
    applied: str,
) -> None:
    """``Prefer`` decides; else a run id, or Crush's client of the newer generation, is let go at
    once; everybody else waits for the settlement (wire contract 8.9)."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("done")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world:
            workspace = await create(world, version)
            path = f"/v1/workspaces/{workspace}"
            session = (await world.request("POST", f"{path}/sessions", {"title": "New"})).json["id"]
            body = {"session_id": session, "prompt": "hello"} | (
                {"run_id": run_id} if run_id else {}
            )
            begun = trio.current_time()
            async with world.call("POST", f"{path}/agent", body, headers) as call:
                handler = await world.traffic.wait("POST", "/agent")
                await model.wait_request(1)
                if until == "settles":
                    await trio.sleep(20)
                    assert not handler.ended.is_set()
                    gate.set()
                reply = await call.reply()
            waited = {"settles": 20, "nothing": 0, "waits 5": 5}[until]
            assert trio.current_time() - begun == pytest.approx(waited, abs=0.1)
            assert (reply.status, reply.headers.get("preference-applied", "")) == (status, applied)
            check_answer(reply, session, run_id, applied)
            gate.set()
            (hosted,) = world.host.workspaces
            await hosted.wait_idle()
            stored = (await world.request("GET", f"{path}/sessions/{session}/messages")).json
            assert [message["role"] for message in stored] == ["user", "assistant"]


def check_answer(reply: Any, session: str, run_id: str, applied: str) -> None:
    """Check the body: Crush's own clients get an empty 202, who asked for one gets the run's name."""
    if reply.status == 202 and not applied:
        assert reply.body == b""
        assert "content-type" not in reply.headers
    else:
        assert reply.json["session_id"] == session
        assert reply.json["run_id"] == (run_id or reply.json["run_id"]) != ""
    if reply.status == 200:
        assert (reply.json["outcome"], reply.json["text"]) == ("completed", "done")
        assert reply.json["cancelled"] is False


# --- asking again --------------------------------------------------------------------------------


@pytest.mark.promise("R16", "R14", "R2")
async def test_a_prompt_posted_again_joins_its_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A client that lost its connection asks again: one prompt, one run, its own answer."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("done")])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session = place.session
            async with world.prompt(session, "hello", run_id="mine", prefer="wait=60") as lost:
                handler = await world.traffic.wait("POST", "/agent")
                await model.wait_request(1)
                lost.drop()
                await handler.ended.wait()
            async with world.prompt(session, "hello", run_id="mine", prefer="wait=60") as again:
                await world.traffic.wait("POST", "/agent", 2)
                async with world.prompt(session, "other", run_id="mine") as other:
                    refused = await other.reply()
                assert refused.status == 409
                assert refused.json == {"message": "run id already used for another prompt"}
                assert await session.queue() == []
                gate.set()
                reply = await again.reply()
            assert (reply.status, reply.json["text"]) == (200, "done")
            assert len(model.requests) == 1
            assert told(await session.messages()) == ["user stop hello", "assistant end_turn done"]
            assert len(place.ear.completions()) == 1


@pytest.mark.promise("R16")
async def test_a_settled_run_answers_at_once_for_ten_minutes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Also to a caller that would be let go with 202, and the failed one with its error."""
    model = ScriptedModel("done", failing(), "again")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            session = place.session

            async def ask(run_id: str, text: str = "hello", prefer: str = "") -> Any:
                async with world.prompt(session, text, run_id=run_id, prefer=prefer) as call:
                    return await call.reply()

            first = await ask("good", prefer="wait=60")
            failed = await ask("bad", prefer="wait=60")
            assert (first.status, failed.status) == (200, 500)
            await trio.sleep(590)
            for prefer in ("", "respond-async", "wait=0"):
                assert (await ask("good", prefer=prefer)).json == first.json
                assert (await ask("bad", prefer=prefer)).json == failed.json
            assert (await ask("good", "other")).status == 409
            assert len(model.requests) == 2
            await trio.sleep(20)
            fresh = await ask("good", prefer="wait=60")  # the server has forgotten: a new run
            assert (fresh.status, fresh.json["text"]) == (200, "again")


@pytest.mark.promise("R16")
async def test_the_same_run_id_in_another_session_is_another_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A run id belongs to its session."""
    model = ScriptedModel("one", "two")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            other = await place.workspace.create_session("Other")
            texts = [
                (await session.prompt("hello", run_id="mine")).text
                for session in (place.session, other)
            ]
            assert texts == ["one", "two"]
