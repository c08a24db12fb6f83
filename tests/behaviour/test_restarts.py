"""A server that is killed in the middle of everything, and the next one at its address: the clients
come back with the ids that they had."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest
import trio

from crush_trio.addresses import parse_address
from crush_trio.ids import new_id
from crush_trio.providers.scripted import Hang, Say, ScriptedModel
from crush_trio.server.model_script import open_model_server
from crush_trio.workspaces import StateFile
from history_kit import check_history, check_stream, finish_of
from limits_kit import PROCESS_LIMIT
from people_kit import Desk, decoded, desk, listening, status_of
from process_kit import open_server_process
from project_kit import config, environment

pytestmark = pytest.mark.promise("W3")


def state_of(tmp_path: Path) -> StateFile:
    """Return the file in which the server saves what is open."""
    address = parse_address(f"unix://{tmp_path / 's'}")
    return StateFile.at(address, environment(tmp_path / "home"))


@pytest.mark.promise("C1", "S6", "R9", "R10", "A2")
async def test_clients_of_a_killed_server_come_back_to_the_next_one(tmp_path: Path) -> None:
    """Killed in mid-sentence, while one client waits for the answer and two read the events. Every
    stream ends as streams end; the next server knows the ids, what was said, and goes on."""
    model = ScriptedModel([Say("Half a sentence "), Hang()])
    state = state_of(tmp_path)
    with trio.fail_after(PROCESS_LIMIT):
        async with open_model_server(model) as base_url:
            document = config(base_url)
            async with (
                open_server_process(tmp_path, document=document) as server,
                desk(server, yolo=True) as place,
            ):
                known, another = await place.workspace.get(), new_id()
                path = f"/v1/workspaces/{known.id}/events?client_id={another}"
                async with (
                    server.call("GET", path) as reader,
                    server.prompt(place.session, "Say something.", prefer="wait=60") as post,
                ):
                    head, _, body = (await reader.head()).partition(b"\r\n\r\n")
                    assert b"connection: close" in head.lower()
                    assert b"transfer-encoding" not in head.lower()
                    heard = await place.ear.wait_text("sentence")
                    server.signal(signal.SIGKILL)
                    assert await server.wait() == -signal.SIGKILL
                    await place.ear.ended.wait()
                    assert not place.ear.cut
                    check_stream(decoded(body + await reader.rest()))
                    with pytest.raises((AssertionError, trio.BrokenResourceError)):
                        await post.head()
                assert stat.S_IMODE(state.path.stat().st_mode) == 0o600
                async with open_server_process(tmp_path, document=document) as heir:
                    assert (await heir.request("GET", "/v1/workspaces")).json == []
                    model.then("Going on.")
                    assert await place.workspace.get() == known
                    await gone_on_with(place, heard.text)
                    async with heir.visit(linger=False) as late:
                        assert late.id == known.id
                    for client in (place.workspace._client["client_id"], another):
                        await heir.request("DELETE", f"/v1/clients/{client}")
                    assert await status_of(heir, known.id) == 404
                    async with heir.visit(tmp_path / "other"):
                        heir.signal(signal.SIGTERM)
                        assert await heir.wait() == 0
                # The goodbyes count, the end of the process does not.
                assert [saved.directory for saved in state.read()] == [str(tmp_path / "other")]


async def gone_on_with(place: Desk, half: str) -> None:
    """Do what a terminal client does whose stream has ended, with nothing but the ids it has."""
    async with listening(place.workspace) as ear:
        await place.workspace.select_session(place.session.id)
        stored = await place.session.messages()
        check_history(stored)
        assert (finish_of(stored[-1]), stored[-1].text) == ("error", half)
        assert "Interrupted" in str(stored[-1].parts[-1])
        assert not (await place.session.state()).is_busy
        answer = await place.session.prompt("go on")
        assert (answer.outcome, answer.text) == ("completed", "Going on.")
        done = await ear.wait_complete(answer.run_id)
        assert done.session_id == place.session.id
        check_stream(ear.events)
