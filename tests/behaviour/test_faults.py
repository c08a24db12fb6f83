"""A disk that is full or cannot be written, through HTTP: the run fails, and says so (C2)."""

from __future__ import annotations

import resource
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.providers.scripted import Call, Hang, Say, ScriptedModel, WaitFor
from crush_trio.store import Store
from crush_trio.store.database import WriteConnection
from crush_trio.wire.events import Event
from history_kit import Heard, check_history, check_stream, finish_of, told
from limits_kit import REAL_LIMIT
from people_kit import desk, noticed
from world_kit import open_inline_store, open_served_world, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""

READ_ONLY = "attempt to write a readonly database"


@attrs.define(eq=False)
class Disk:
    """A disk that can be switched to read only, under the real code of the store."""

    writing: WriteConnection | None = None

    def lock(self) -> None:
        """Let every write fail from now on."""
        assert self.writing is not None
        self.writing.execute("PRAGMA query_only = ON")

    def unlock(self) -> None:
        """Let writes through again."""
        assert self.writing is not None
        self.writing.execute("PRAGMA query_only = OFF")

    def _take(self, writing: WriteConnection) -> None:
        self.writing = writing

    @asynccontextmanager
    async def open(
        self, directory: Path, publish: Callable[[Event], None]
    ) -> AsyncGenerator[Store]:
        """Open a store on this disk."""
        async with open_inline_store(directory, publish, opened=self._take) as store:
            yield store


def check_shown(events: list[Heard], stored: list[str]) -> None:
    """Check that every message that was shown as created is stored (C2)."""
    shown = [e.payload.id for e in events if e.type == "message" and e.change == "created"]
    assert sorted(shown) == sorted(stored)


@pytest.mark.promise("C2", "R7", "R1", "R8")
async def test_a_prompt_that_cannot_be_stored_fails_with_that_reason(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The model is not asked, no message is shown, and the next prompt works once the disk does."""
    disk, model = Disk(), ScriptedModel("fine")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model, store=disk.open) as world, desk(world) as place:
            disk.lock()
            async with world.prompt(place.session, "hello") as call:
                reply = await call.reply()
            assert (reply.status, READ_ONLY in reply.json["message"]) == (500, True)
            done = await place.ear.wait_complete(reply.json["run_id"])
            assert READ_ONLY in str(done.error)
            assert model.requests == []
            create = await world.request(
                "POST", f"/v1{place.workspace._path}/sessions", {"title": "T"}
            )
            assert (create.status, READ_ONLY in create.json["message"]) == (500, True)
            check_shown(place.ear.events, [])
            disk.unlock()
            assert (await place.session.prompt("again")).text == "fine"
            check_history(await place.session.messages())
            assert told(await place.session.messages())[0] == "user stop again"


@pytest.mark.promise("C2", "R7", "R9", "R10", "R13", "C3")
async def test_a_disk_that_fails_in_the_midst_of_an_answer_fails_the_run(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What was shown before is stored; what comes after is not shown; the queue goes on."""
    gate = trio.Event()
    model = ScriptedModel([Say("Half "), WaitFor(gate), Say("a sentence."), Hang()], "fine")
    disk = Disk()
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model, store=disk.open) as world, desk(world) as place:
            async with world.prompt(place.session, "hello") as call:
                await place.ear.wait_text("Half")
                disk.lock()
                gate.set()
                reply = await call.reply()
            assert (reply.status, READ_ONLY in reply.json["message"]) == (500, True)
            done = await place.ear.wait_complete(reply.json["run_id"])
            assert READ_ONLY in str(done.error)
            assert (model.open_streams, model.abandoned_streams) == (0, 1)
            shown = [m.text for m in place.ear.of("message") if m.role == "assistant"]
            assert shown[-1] == "Half "
            assert told(await place.session.messages()) == ["user stop hello", "assistant Half "]
            disk.unlock()
            assert (await place.session.prompt("again")).text == "fine"
            check_stream(place.ear.events)


@pytest.mark.promise("C2", "R5")
async def test_a_completed_run_whose_finish_cannot_be_stored_has_failed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Nobody is told of a completion that is not there."""
    gate = trio.Event()
    model, disk = ScriptedModel([Say("All."), WaitFor(gate)]), Disk()
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model, store=disk.open) as world, desk(world) as place:
            async with world.prompt(place.session, "hello") as call:
                await place.ear.wait_text("All.")
                await trio.sleep(1)
                disk.lock()
                gate.set()
                reply = await call.reply()
            assert (reply.status, READ_ONLY in reply.json["message"]) == (500, True)
            done = await place.ear.wait_complete()
            assert READ_ONLY in str(done.error)
            assert [e.type for e in place.ear.of("agent_event")] == ["error"]
            assert not any(finish_of(m) for m in place.ear.of("message") if m.role == "assistant")


@pytest.mark.promise("C2", "R4", "R5", "R15")
async def test_a_cancelled_run_stays_cancelled_when_its_finish_cannot_be_stored(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The error stands beside the outcome."""
    model, disk = ScriptedModel([Say("Half"), Call("ls"), Hang()], "fine"), Disk()
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model, store=disk.open) as world, desk(world) as place:
            async with world.prompt(place.session, "hello") as call:
                await place.ear.wait_text("Half")
                await trio.sleep(1)
                disk.lock()
                receipt = await place.session.cancel(wait=60)
                reply = await call.reply()
            assert (reply.status, reply.json["outcome"]) == (200, "cancelled")
            assert READ_ONLY in reply.json["error"]
            assert [run.outcome for run in receipt.runs] == ["cancelled"]
            done = await place.ear.wait_complete()
            assert (done.cancelled, READ_ONLY in str(done.error)) == (True, True)
            disk.unlock()
            await noticed()
            assert (await place.session.prompt("again")).text == "fine"


@contextmanager
def file_size_limit(size: int) -> Generator[None]:
    """Let no file of this process grow beyond a size; the system refuses such writes."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.promise("C2", "R7", "R9", "C3")
async def test_a_disk_that_is_really_full_fails_the_run_and_not_the_server(tmp_path: Path) -> None:
    """The real store, and a limit of the operating system."""
    gate = trio.Event()
    big = "x" * 400_000
    model = ScriptedModel([Say("Half "), WaitFor(gate), Say(big, chunk=100_000)], "fine")
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model) as world, desk(world) as place:
            data = world.directory / ".crush"
            async with world.prompt(place.session, "hello") as call:
                await place.ear.wait_text("Half")
                largest = max(file.stat().st_size for file in data.iterdir())
                with file_size_limit(largest + 100_000):
                    gate.set()
                    reply = await call.reply()
            assert reply.status == 500
            assert str(data / "crush.db") in reply.json["message"]
            done = await place.ear.wait_complete()
            assert str(data / "crush.db") in str(done.error)
            shown = [m.text for m in place.ear.of("message") if m.role == "assistant"]
            stored = await place.session.messages()
            assert stored[-1].text == shown[-1]
            assert (await place.session.prompt("again")).text == "fine"
            check_stream(place.ear.events)
