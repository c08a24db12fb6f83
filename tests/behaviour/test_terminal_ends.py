"""Terminal clients at the edges: a stream that ends, a server that dies, a program that reads
nothing. Crush's client spins for ever after an unclean end (wire contract 5.3), so there is none."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import new_id
from crush_trio.providers.scripted import Call, Hang, Say, ScriptedModel, failing
from crush_trio.server.model_script import open_model_server
from crush_trio.wire.sse import SSEReader
from limits_kit import PROCESS_LIMIT
from process_kit import ServerProcess, open_server_process
from project_kit import config
from serving_kit import Reply
from terminal_kit import GO, open_terminal
from world_kit import World, open_served_world, open_world

TEN_MINUTES = 600.0


@pytest.mark.promise("S6", "W3")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_5_8_a_terminal_comes_back_to_the_next_server_in_the_midst_of_an_answer(
    tmp_path: Path, number: signal.Signals
) -> None:
    """It says once that it lost the server, finds its workspace by the id it has, draws what was
    said and how it ended, and the next prompt is answered."""
    model = ScriptedModel([Say("Half a sentence "), Hang()], "Going on.")
    with trio.fail_after(PROCESS_LIMIT):
        async with open_model_server(model) as base_url:
            document = config(base_url)
            async with trio.open_nursery() as nursery:
                keep = partial(keep_server, tmp_path, document)
                first: ServerProcess = await nursery.start(keep)
                async with open_terminal(first, errors=True) as terminal:
                    await terminal.send("go on")
                    await terminal.until(
                        lambda seen: "Half a sentence" in "".join(seen.screen[-1:])
                    )
                    known, before = terminal.workspace["id"], terminal.loads
                    first.signal(number)
                    await first.wait()
                    await terminal.until(lambda seen: seen.degraded)
                    await nursery.start(keep)
                    await terminal.until(lambda seen: seen.loads > before)
                    await terminal.until_idle("-- ")
                    assert (terminal.losses, terminal.workspace["id"]) == (1, known)
                    ends = {
                        signal.SIGKILL: "-- Interrupted",
                        signal.SIGTERM: "-- Canceled",
                    }
                    assert terminal.screen[:2] == ["> go on", "Half a sentence "]
                    assert terminal.screen[2].startswith(ends[number])
                    await terminal.send("again")
                    await terminal.until_idle()
                    assert terminal.screen[-3:] == ["> again", "Going on.", "--"]
                    assert not terminal.spinning
                nursery.cancel_scope.cancel("the test is over")


async def keep_server(
    tmp_path: Path, document: object, *, task_status: trio.TaskStatus[ServerProcess]
) -> None:
    """Keep a server's process until it ends."""
    async with open_server_process(tmp_path, document=document) as server:
        task_status.started(server)
        await server.wait()


@pytest.mark.promise("S6", "W2")
async def test_5_3_a_terminal_whose_workspace_closes_comes_back_to_a_new_one(
    tmp_path: Path,
) -> None:
    """Retired by somebody who knows its id, its stream ends properly, its old id is unknown, and as
    that client is not let in again, the terminal says that it is lost instead of spinning."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_served_world(tmp_path) as world, open_terminal(world, errors=True) as seen:
            await world.request("DELETE", f"/v1/clients/{seen.client_id}")
            await seen.until(lambda terminal: terminal.degraded)
            await seen.until(lambda terminal: "client has been retired" in str(terminal.errors))
            assert not seen.spinning


@pytest.mark.promise("S6", "C3")
async def test_5_3_a_terminal_whose_stream_breaks_inside_the_server_has_it_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect of ours is no unclean end; the terminal is lost for a moment, and draws on."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_served_world(tmp_path, ScriptedModel("Here.")) as world:
            async with open_terminal(world) as terminal:
                (hub,) = [each.hub for each in world.host.workspaces]
                hub._chunk = cast("Any", 5)  # which cannot be looked into
                await terminal.ask("POST", "/sessions", {"title": "Another"})
                await terminal.until(lambda seen: seen.losses)
                hub._chunk = None
                await terminal.until(lambda seen: not seen.degraded)
                await terminal.send("hi")
                await terminal.until_idle()
                assert terminal.screen == ["> hi", "Here.", "--"]
                assert "an event stream broke, and is ended" in caplog.text


@pytest.mark.promise("D3", "S6")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
async def test_9_1_an_open_dialog_does_no_harm_when_its_server_ends(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A stop withdraws it before the stream ends. A kill leaves it on the screen: the next server
    knows nothing of it, says so without an error, and the session takes the next prompt."""
    ask = Call("bash", {"command": "touch a", "description": "d"})
    model = ScriptedModel([ask], "Next.")
    with trio.fail_after(PROCESS_LIMIT):
        async with open_model_server(model) as base_url, trio.open_nursery() as nursery:
            keep = partial(keep_server, tmp_path, config(base_url))
            first: ServerProcess = await nursery.start(keep)
            async with open_terminal(first, errors=True) as terminal:
                await terminal.send("go on")
                await terminal.until(lambda seen: seen.dialog)
                first.signal(number)
                await first.wait()
                await terminal.until(lambda seen: seen.degraded)
                assert (terminal.dialog is None) == (number == signal.SIGTERM)
                before = terminal.loads
                await nursery.start(keep)
                await terminal.until(lambda seen: seen.loads > before)
                await terminal.until_idle("-- ")
                if terminal.dialog is not None:
                    assert not await terminal.decide("allow")
                (call,) = [line for line in terminal.screen if line.startswith("*")]
                assert call.startswith("* bash failed: ")
                assert not (first.directory / "a").exists()
                await terminal.send("again")
                await terminal.until_idle()
                assert terminal.screen[-3:] == ["> again", "Next.", "--"]
                assert not terminal.spinning
            nursery.cancel_scope.cancel("the test is over")


# --- `crush run` -------------------------------------------------------------------------------


class RunCommand:
    """A twin of ``crush run``: it reads no event before its POST has returned (8.9).

    Attributes:
        printed: What it printed.
        status: Its exit status.
        posted: The answer to its prompt.
    """

    def __init__(self, world: World, text: str) -> None:
        self._world = world
        self._text = text
        self.client_id, self.run_id = new_id(), new_id()
        self.printed = ""
        self.status = -1
        self.posted: Reply
        self.session_id = ""

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        reply = await self._world.request(method, path, body, GO)
        assert reply.status in {200, 202}, reply
        return reply

    async def run(self, *, hold: float = 0.0) -> None:
        """Do all of it (11.1).

        Args:
            hold: Seconds for which a proxy holds the answer to its POST, and it reads nothing.
        """
        path = str(self._world.directory)
        body = {"id": "", "path": path, "version": "0.90.0", "client_id": self.client_id}
        workspace = (await self.ask("POST", "/v1/workspaces", body)).json["id"]
        base = f"/v1/workspaces/{workspace}"
        await self.ask("POST", f"{base}/agent/init", {"interactive": False})
        assert (await self.ask("GET", f"{base}/agent")).json["is_ready"]
        await self.ask("POST", f"{base}/agent/update")
        made = await self.ask("POST", f"{base}/sessions", {"title": "non-interactive"})
        self.session_id = made.json["id"]
        events = f"{base}/events?client_id={self.client_id}"
        async with self._world.call(
            "GET", events, headers=GO, connect=self._world.connect_lockstep
        ) as stream:
            _, _, body_so_far = (await stream.head()).partition(b"\r\n\r\n")
            prompt = {"session_id": self.session_id, "run_id": self.run_id, "prompt": self._text}
            self.posted = await self.ask("POST", f"{base}/agent", prompt)
            await trio.sleep(hold)
            await self._read(stream.stream, body_so_far)
        await self.ask("DELETE", f"/v1/clients/{self.client_id}")

    async def _read(self, stream: trio.abc.ReceiveStream, data: bytes) -> None:
        reader = SSEReader()
        while self.status < 0:
            for line in reader.feed(data):
                self._take(line)
            if self.status < 0:
                data = bytes(await stream.receive_some(16_384))
                assert data, "the stream ended before the run: it would print nothing"

    def _take(self, line: bytes) -> None:
        event = json.loads(line)
        payload = event["payload"]["payload"]
        if event["type"] == "run_complete" and payload.get("run_id") == self.run_id:
            failed = payload.get("error") and not payload.get("cancelled")
            self.status = 1 if failed else 0
            if not failed and payload["message_id"]:
                self.printed = payload.get("text", "").lstrip(" \t")
        elif event["type"] == "agent_event" and payload.get("run_id") == self.run_id:
            self.status = 1 if payload.get("error") else self.status


@pytest.mark.promise("S2", "S3")
async def test_8_9_crush_run_that_reads_nothing_before_its_post_returns_gets_its_answer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Ten thousand words stream meanwhile, and nobody takes one of them for ten minutes. The run
    ends long before that, and all that counts is still there."""
    model = ScriptedModel([Say("word " * 10_000, pause=0.01)])
    with trio.fail_after(3600):
        async with open_world(tmp_path, model) as world:
            command = RunCommand(world, "hi")
            await command.run(hold=TEN_MINUTES)
            assert command.posted.status == 202
            assert (command.printed, command.status) == ("word " * 10_000, 0)


@pytest.mark.promise("R4", "R7")
@pytest.mark.parametrize(
    ("answer", "printed", "status"),
    [
        ("Hello.", "Hello.", 0),
        ([Say("Half "), Hang()], "Half ", 0),
        ([Call("no_such_tool", {})], "Then.", 0),
        (failing(400, "no such model"), "", 1),
    ],
    ids=["answered", "cancelled", "tool", "failed"],
)
async def test_14_17_crush_run_prints_the_text_of_its_run(
    autojump_clock: MockClock, tmp_path: Path, answer: object, printed: str, status: int
) -> None:
    """Whatever ends it, and whoever: also a cancel by another client is a normal end. Only a failure
    is one."""
    model = ScriptedModel(answer, "Then.")  # pyright: ignore[reportArgumentType]
    with trio.fail_after(3600):
        async with open_world(tmp_path, model) as world, trio.open_nursery() as nursery:
            command = RunCommand(world, "hi")
            nursery.start_soon(command.run)
            if printed == "Half ":
                async with world.visit() as workspace:
                    await model.wait_request(1)
                    await trio.sleep(1)
                    await workspace.session(command.session_id).cancel()
        assert (command.printed, command.status) == (printed, status)
