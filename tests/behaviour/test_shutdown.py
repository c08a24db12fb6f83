"""The end of a real server process under load, and with readers that do not read."""

from __future__ import annotations

import json
import resource
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import h2.events
import pytest
import trio

from crush_trio.providers.scripted import Hang, Say, ScriptedModel
from crush_trio.server.model_script import open_model_server
from crush_trio.settings import Settings
from history_kit import check_stream
from limits_kit import PROCESS_LIMIT
from people_kit import Call, Desk, Listener, Reachable, decoded, desk, events_path
from process_kit import ServerProcess, open_server_process
from project_kit import config
from serving_kit import H2Client, request

CROWD = 100

EXIT_WORK = 5.0
"""Seconds of a processor that the end of a loaded server may take; it takes half of one here."""

MIB = 2**20


@pytest.mark.promise("R3", "R4", "S3", "S6", "W4")
@pytest.mark.parametrize("deaf", [False, True], ids=["all read", "two stalled readers"])
async def test_a_loaded_server_answers_everybody_and_ends_soon(
    tmp_path: Path, *, deaf: bool
) -> None:
    """100 open POSTs are answered 200 as cancelled; 100 streams hear of all of it, and end. The
    server then waits for nobody; for readers that have stalled it waits, but only its time."""
    model = ScriptedModel(respond=lambda _: [Say("Half"), Hang()])
    with trio.fail_after(PROCESS_LIMIT):
        async with (
            open_model_server(model) as base_url,
            open_server_process(tmp_path, document=config(base_url)) as server,
            AsyncExitStack() as stack,
        ):
            if deaf:
                other = await stack.enter_async_context(stalled(server))
                async with await server.connect() as writer:
                    await rename(writer, other, 4)
            place = await stack.enter_async_context(desk(server))
            streams = [
                await stack.enter_async_context(server.call("GET", events_path(place.workspace)))
                for _ in range(CROWD)
            ]
            firsts = [(await call.head()).partition(b"\r\n\r\n")[2] for call in streams]
            sessions = [await place.workspace.create_session(f"S{n}") for n in range(CROWD)]
            posts = [
                await stack.enter_async_context(server.prompt(session, "hello"))
                for session in sessions
            ]
            await model.wait_request(CROWD)
            bodies: list[bytes] = []
            statuses: list[tuple[int, str]] = []

            async def listen(call: Call, first: bytes) -> None:
                bodies.append(first + await call.rest())

            async def hear(call: Call) -> None:
                reply = await call.reply()
                statuses.append((reply.status, reply.json["outcome"]))

            used = used_by_children() + used_by(server)
            begun = trio.current_time()
            server.signal(signal.SIGTERM)
            async with trio.open_nursery() as nursery:
                for call, first in zip(streams, firsts, strict=True):
                    nursery.start_soon(listen, call, first)
                for call in posts:
                    nursery.start_soon(hear, call)
            heard = trio.current_time()
            assert await server.wait() == 0
            ended = trio.current_time()
            assert statuses == [(200, "cancelled")] * CROWD
            assert len(bodies) == CROWD
            events = decoded(bodies[0])
            check_stream(events)
            assert sum(event.type == "run_complete" for event in events) == CROWD
            assert {body.count(b'"run_complete"') for body in bodies} == {CROWD}
            check_waited(heard - begun, ended - heard, deaf=deaf)
            # Others may keep both of us waiting for a processor: its use of one is what counts.
            assert used_by_children() - used < EXIT_WORK
            assert b"ERROR" not in server.log


def check_waited(answering: float, ending: float, *, deaf: bool) -> None:
    """Check that a server has waited for readers that have stalled, and for no other."""
    patience = Settings().drain_timeout
    assert (answering + ending >= patience) if deaf else (ending < patience)


@pytest.mark.promise("S3")
async def test_stalled_readers_cost_no_memory_and_a_second_signal_leaves_at_once(
    tmp_path: Path,
) -> None:
    """One of each protocol takes none of 100 MB of events. SIGTERM waits for them;
    the next one does not."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_server_process(tmp_path) as server, stalled(server) as place:
            async with await server.connect() as stream:
                await rename(stream, place, 36)
                before = resident(server)  # with a full event log
                await rename(stream, place, 64)
            assert resident(server) - before < 32 * MIB
            server.signal(signal.SIGTERM)
            await server.said(b"shutting down")
            server.signal(signal.SIGTERM)
            assert await server.wait() == 128 + signal.SIGTERM  # by the second, so at once


async def test_a_terminal_that_is_closed_ends_its_server_in_good_order(tmp_path: Path) -> None:
    """Nothing is left that a killed server leaves. The shell sends the signal once more."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_server_process(tmp_path) as server, desk(server):
            server.signal(signal.SIGHUP)
            server.signal(signal.SIGHUP)
            assert await server.wait() == 0
            assert not (tmp_path / "s").exists()
            assert b"SIGHUP: shutting down" in server.log


async def test_a_server_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    """It was told to: the signal is ignored before it starts."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_server_process(tmp_path, under=("nohup",)) as server:
            server.signal(signal.SIGHUP)
            async with desk(server):
                server.signal(signal.SIGTERM)
                assert await server.wait() == 0
            assert b"SIGHUP" not in server.log


@asynccontextmanager
async def stalled(server: Reachable) -> AsyncGenerator[Desk]:
    """Be a client with a session, whose two event streams are not read: one of each protocol."""
    async with server.visit() as workspace:
        session = await workspace.create_session("New Session")
        async with (
            server.call("GET", events_path(workspace)) as call,
            await server.connect() as raw,
        ):
            await call.stream.receive_some(1)
            client = H2Client(raw)
            stream_id = await client.send("GET", events_path(workspace))
            await client.wait_for(h2.events.ResponseReceived, stream_id)
            yield Desk(workspace, session, Listener())


async def rename(stream: trio.abc.Stream, place: Desk, times: int) -> None:
    """Give a session new titles, each of which is an event of a megabyte."""
    path = f"/v1/workspaces/{place.workspace.id}/sessions/{place.session.id}"
    for number in range(times):
        body = {"id": place.session.id, "title": f"{number} " + "x" * MIB}
        assert (await request(stream, "PUT", path, json.dumps(body).encode())).status == 200


def used_by(server: ServerProcess) -> float:
    """Return the seconds of processor time that a server has used."""
    return time.clock_gettime((~server.process.pid << 3) | 2)  # the kernel's clock of a process


def used_by_children() -> float:
    """Return the seconds of processor time that processes have used which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def resident(server: ServerProcess) -> int:
    """Return the bytes of memory that a server's process has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
