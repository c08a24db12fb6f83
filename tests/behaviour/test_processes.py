"""A real server process, ended in every way in which processes end; and one with the real model."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from crush_trio.providers.local_weights import CACHE_VARIABLE, default_cache_dir, pull_weights
from crush_trio.providers.scripted import Call, Hang, Say, ScriptedModel
from crush_trio.server.model_script import open_model_server
from crush_trio.wire.runs import RunAccepted, RunResult
from history_kit import check_history, check_stream, finish_of
from limits_kit import PROCESS_LIMIT
from people_kit import agent_path, decoded, desk, events_path
from process_kit import ServerProcess, open_server_process
from project_kit import config
from tools_kit import is_alive, open_ear

FAR = 6_000
LONG = " ".join(map(str, range(200_000)))
"""Long enough that between two snapshots only its increments are kept (architecture 5)."""


@pytest.mark.promise("C1", "R9", "R10", "R16")
async def test_a_kill_loses_nothing_that_was_shown(tmp_path: Path) -> None:
    """In mid-sentence, with a tool running and with a prompt waiting. After the restart all that
    was heard is there, the runs are settled as interrupted, and their sessions take prompts."""
    model = ScriptedModel()
    with trio.fail_after(PROCESS_LIMIT):
        async with open_model_server(model) as base_url:
            document = config(base_url)
            async with open_server_process(tmp_path, document=document) as server:
                spoken, worked, heard, pid = await killed_in_mid_sentence(server, model)
            assert is_alive(pid)  # nobody was left to end it
            os.kill(pid, signal.SIGKILL)
            async with open_server_process(tmp_path, document=document) as server:
                async with desk(server) as place:
                    session = place.workspace.session(spoken)
                    stored = await session.messages()
                    assert [(m.role, finish_of(m)) for m in stored] == [
                        ("user", "stop"),
                        ("assistant", "error"),
                    ]
                    assert LONG.startswith(stored[-1].text)
                    assert stored[-1].text.startswith(heard)
                    assert "Interrupted" in str(stored[-1].parts[-1])
                    working = place.workspace.session(worked)
                    stored = await working.messages()
                    check_history(stored)
                    assert [m.role for m in stored] == ["user", "assistant", "tool"]
                    assert finish_of(stored[1]) == "error"
                    model.then("one", "two")
                    assert (await session.prompt("go on")).text == "one"
                    assert (await working.prompt("go on")).text == "two"
                    # Not known across a restart: the same id is a new run.
                    assert isinstance(await session.submit("new", run_id="spoken"), RunAccepted)
                    await place.ear.wait_complete("spoken")
                    check_stream(place.ear.events)


async def killed_in_mid_sentence(
    server: ServerProcess, model: ScriptedModel
) -> tuple[str, str, str, int]:
    """Kill a server that speaks in one session and works in another; return both sessions, what was
    heard of the speech, and the process that works."""
    bash = Call("bash", {"description": "Wait", "command": "echo $$ > ear; exec sleep 1000"})
    async with open_ear(server.directory) as ear, desk(server, yolo=True) as place:
        model.then([Say(LONG, chunk=500, pause=0.002), Hang()])
        await place.session.submit("Say something.", run_id="spoken")
        await model.wait_request(1)
        await place.session.submit("And then?", run_id="waiting")
        working = await place.workspace.create_session("Working")
        model.then([Say("Look."), bash])
        await working.submit("Work.", run_id="working")
        pid = await ear.pid()
        heard = await place.ear.wait_text(f"{FAR} ")
        async with server.prompt(
            place.session, "Say something.", run_id="spoken", prefer="wait=60"
        ) as post:
            server.signal(signal.SIGKILL)
            assert await server.wait() == -signal.SIGKILL
            await place.ear.ended.wait()
            assert not place.ear.cut  # the kernel closes the socket: no reader hangs
            with pytest.raises((AssertionError, trio.BrokenResourceError)):
                await post.head()
        return place.session.id, working.id, heard.text, pid


@pytest.mark.promise("R3", "R4", "S6", "W4", "W5", "A1")
async def test_a_sigterm_answers_everybody_and_leaves_nothing(tmp_path: Path) -> None:
    """The open POST answers 200 as cancelled, the streams end properly, the exit status is 0, the
    socket file is gone, and so are the processes of tools and of background jobs."""
    model = ScriptedModel()
    job = {
        "description": "J",
        "command": "echo $$ > ear; exec sleep 1000",
        "run_in_background": True,
    }
    tool = {"description": "T", "command": "echo $$ > ear; exec sleep 1000"}
    with trio.fail_after(PROCESS_LIMIT):
        async with open_model_server(model) as base_url:
            async with (
                open_server_process(tmp_path, document=config(base_url)) as server,
                AsyncExitStack() as stack,
            ):
                ear = await stack.enter_async_context(open_ear(server.directory))
                place = await stack.enter_async_context(desk(server, yolo=True))
                raw = await stack.enter_async_context(
                    server.call("GET", events_path(place.workspace))
                )
                first = (await raw.head()).partition(b"\r\n\r\n")[2]
                model.then([Call("bash", job)], [Say("Half"), Call("bash", tool)])
                post = await stack.enter_async_context(server.prompt(place.session, "Work."))
                pids = [await ear.pid(), await ear.pid()]
                assert all(map(is_alive, pids))
                server.signal(signal.SIGTERM)
                reply = await post.reply()
                assert (reply.status, reply.json["outcome"]) == (200, "cancelled")
                assert reply.json["text"] == "Half"
                events = decoded(first + await raw.rest())
                assert [e.payload.cancelled for e in events if e.type == "run_complete"] == [True]
                check_stream(events)
                await place.ear.ended.wait()
                assert not place.ear.cut
                assert await server.wait() == 0
                assert not (tmp_path / "s").exists()
                assert not any(map(is_alive, pids))
                assert b"ERROR" not in server.log
                assert b"Traceback" not in server.log

            async with open_server_process(tmp_path, document=config(base_url)) as server:
                async with desk(server) as again:
                    stored = await again.workspace.session(place.session.id).messages()
                    check_history(stored)
                    assert finish_of(stored[3]) == "canceled"


@pytest.mark.promise("R2", "W2")
async def test_an_idle_server_exits_by_itself_only_if_told_to(tmp_path: Path) -> None:
    """Seconds after the last workspace; with status 0 and no socket left. Whoever comes first has
    two seconds for it, also on a busy machine."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_server_process(tmp_path, arguments=("--idle-exit", "2")) as server:
            async with server.visit(linger=False):
                assert server.process.returncode is None
            assert await server.wait() == 0
            assert not (tmp_path / "s").exists()


@pytest.mark.promise("R4", "R10", "R9", "C1")
async def test_the_embedded_model_is_cancelled_and_asked_again(tmp_path: Path) -> None:
    """The whole of it: a real server with the real small model, in a directory without any
    configuration. Its answer is heard word by word, cancelled, kept; and it answers again."""
    with trio.fail_after(300):
        await pull_weights()
    env = {CACHE_VARIABLE: str(default_cache_dir())}
    with trio.fail_after(PROCESS_LIMIT):
        async with open_server_process(tmp_path, document={}, env=env) as server:
            async with desk(server) as place:
                session, answers = place.session, list[RunResult]()
                refused = await server.request(
                    "POST", agent_path(session), {"session_id": session.id, "prompt": "hi"}
                )
                assert refused.json == {"message": "agent coordinator not initialized"}

                async def prompt() -> None:
                    text = "Tell me a long story about a lighthouse."
                    answers.append(await session.prompt(text, local_model=True))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(prompt)
                    heard = await place.ear.wait_text(" ")
                    assert not answers
                    receipt = await session.cancel(wait=10)
                done = await place.ear.wait_complete()
                (answer,) = answers
                assert (answer.outcome, done.cancelled) == ("cancelled", True)
                assert answer.text.startswith(heard.text)
                assert [run.outcome for run in receipt.runs] == ["cancelled"]
                short = await session.prompt("Say hello in one word.", local_model=True)
                assert (short.outcome, bool(short.text)) == ("completed", True)
                stored = await session.messages()
                check_history(stored)
                assert next(finish_of(m) for m in stored if m.role == "assistant") == "canceled"
                check_stream(place.ear.events)
            server.signal(signal.SIGTERM)
            assert await server.wait() == 0
