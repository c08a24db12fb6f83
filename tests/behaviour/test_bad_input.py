"""What clients get wrong, through HTTP: a clear answer that names the thing, and nothing has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from history_kit import told
from limits_kit import PROCESS_LIMIT, REAL_LIMIT
from people_kit import Reachable, agent_path, create_workspace, desk, noticed
from process_kit import open_server_process
from project_kit import config, write_config
from world_kit import open_served_world, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""

CLIENT = "8c7f1d0e-5d2b-4a86-9a4e-7b2b7d2f9f11"
UNKNOWN = "workspace not found"
DECODE = "failed to decode request"


CASES: list[tuple[str, str, object, int, tuple[str, ...]]] = [
    # --- bodies
    ("POST", "W/agent", b"", 400, (DECODE, "body", "empty")),
    ("POST", "W/agent", b"{", 400, (DECODE, "body", "not JSON")),
    ("POST", "W/agent", b"\xff\xfe", 400, (DECODE, "body")),
    ("POST", "W/agent", b"[]", 400, (DECODE, "body", "object")),
    ("POST", "W/agent", {"prompt": 7, "session_id": "s"}, 400, (DECODE, "prompt", "str")),
    ("POST", "W/agent", {"prompt": "x", "session_id": ["s"]}, 400, (DECODE, "session_id")),
    ("POST", "W/agent", {"prompt": "x", "run_id": 1}, 400, (DECODE, "run_id")),
    (
        "POST",
        "W/agent",
        {"attachments": [{"content": "!"}]},
        400,
        (DECODE, "attachments", "content"),
    ),
    ("POST", "W/agent", {"attachments": "f"}, 400, (DECODE, "attachments")),
    (
        "POST",
        "W/agent",
        {"prompt": "x", "session_id": "S", "attachments": [None]},
        400,
        (DECODE, "attachments[0]"),
    ),
    ("PUT", "W/sessions/S", {"id": "S", "title": "T", "todos": [None]}, 400, (DECODE, "todos[0]")),
    ("POST", "W/questions/answer", {"responses": [None]}, 400, (DECODE, "responses[0]")),
    ("POST", "W/agent", {"interactive": "yes"}, 400, (DECODE, "interactive")),
    ("POST", "W/sessions", b"", 400, (DECODE, "body", "empty")),
    ("POST", "W/sessions", {"title": {}}, 400, (DECODE, "title")),
    ("PUT", "W/sessions/S", {"id": 5}, 400, (DECODE, "id")),
    ("POST", "W/permissions/grant", b"nope", 400, (DECODE,)),
    ("POST", "W/permissions/skip", {"skip": 1}, 400, (DECODE, "skip")),
    ("POST", "W/agent/init", {"interactive": "x"}, 400, (DECODE, "interactive")),
    ("POST", "/v1/control", b"x", 400, (DECODE,)),
    ("POST", "/v1/workspaces", b"[", 400, (DECODE,)),
    # --- the body is looked at before the workspace
    ("POST", "/v1/workspaces/unknown/agent", b"{", 400, (DECODE,)),
    # --- values
    ("POST", "W/agent", {"session_id": "S"}, 400, ("prompt is empty",)),
    ("POST", "W/agent", {"prompt": "x"}, 400, ("session id is missing",)),
    ("POST", "W/agent", {}, 400, ("prompt is empty",)),
    ("POST", "W/permissions/grant", {"action": "maybe"}, 400, ("invalid permission action",)),
    ("POST", "W/permissions/grant", {"permission": None, "action": "deny"}, 400, ("permission",)),
    ("POST", "/v1/control", {"command": "explode"}, 400, ("unknown command",)),
    ("POST", "/v1/control", {"command": "shutdown"}, 409, ("server is hosting live workspaces",)),
    ("POST", "/v1/workspaces", {"client_id": CLIENT}, 400, ("path is required",)),
    ("POST", "/v1/workspaces", {"path": "/"}, 400, ("invalid client_id",)),
    ("POST", "/v1/workspaces", {"path": "/", "client_id": "me"}, 400, ("UUID length: 2",)),
    ("POST", "/v1/workspaces", {"path": "FILE", "client_id": CLIENT}, 400, ("FILE", "directory")),
    ("POST", "/v1/workspaces", {"path": "FILE/x", "client_id": CLIENT}, 400, ("FILE/x",)),
    ("POST", "/v1/workspaces", {"path": "a\0b", "client_id": CLIENT}, 400, ("path", "null byte")),
    (
        "POST",
        "/v1/workspaces",
        {"path": "NEW", "client_id": CLIENT, "data_dir": "a\0b"},
        400,
        ("data_dir", "NUL"),
    ),
    (
        "POST",
        "/v1/workspaces",
        {"path": "NEW", "client_id": CLIENT, "env": ["A=1", "B=\0"]},
        400,
        ("env[1]", "NUL"),
    ),
    ("PUT", "W/sessions/S", {"id": "S", "title": "T", "cost": -1}, 400, ("cost", "-1")),
    ("DELETE", "/v1/clients/me", None, 400, ("invalid client_id", "length: 2")),
    ("DELETE", "W", None, 400, ("client_id is required",)),
    ("DELETE", "W?client_id=me", None, 400, ("client_id is not a valid UUID",)),
    ("GET", "W/events", None, 400, ("client_id is required",)),
    ("GET", "W/events?client_id=me", None, 400, ("client_id is not a valid UUID",)),
    ("POST", "W/current-session?client_id=me", {}, 400, ("client_id is not a valid UUID",)),
    ("POST", f"W/current-session?client_id={CLIENT}", {}, 409, ("client not attached",)),
    # --- what is not there
    ("GET", "W/sessions/nowhere", None, 400, ("nowhere",)),
    ("PUT", "W/sessions/S", {"id": "nowhere", "title": "T"}, 400, ("nowhere",)),
    ("DELETE", "W/sessions/nowhere", None, 400, ("nowhere",)),
    ("GET", "W/agent/sessions/nowhere", None, 400, ("nowhere",)),
    ("GET", "/v1/workspaces/unknown", None, 404, (UNKNOWN,)),
    ("GET", f"/v1/workspaces/unknown/events?client_id={CLIENT}", None, 404, (UNKNOWN,)),
    ("POST", "/v1/workspaces/unknown/agent", {"prompt": "x"}, 404, (UNKNOWN,)),
    ("POST", "/v1/workspaces/unknown/agent/sessions/S/cancel", None, 404, (UNKNOWN,)),
    ("GET", "/v1/workspaces/unknown/sessions", None, 404, (UNKNOWN,)),
    ("POST", "/v1/workspaces/unknown/permissions/grant", {"action": "no"}, 404, (UNKNOWN,)),
]


@pytest.mark.promise("C4")
async def test_bad_requests_get_a_clear_error_and_change_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Each with a status that puts the blame where it belongs, and one message that names the field."""
    file = tmp_path / "a file"
    file.write_text("content")
    wrong: list[str] = []
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, desk(world) as place:
            await place.session.prompt("hello")
            await noticed()
            before = await state(world, place.workspace.id), len(place.ear.events)
            for method, path, body, status, words in CASES:
                filled = fill([path, body], place.workspace.id, place.session.id, str(file))
                reply = await world.request(method, *filled)
                named = [word.replace("FILE", str(file)) for word in words]
                message = reply.json["message"] if reply.body else "nothing"
                if reply.status != status or not all(word in message for word in named):
                    wrong.append(f"{method} {path} {body!r}: {reply.status} {message}")
                assert list(reply.json) == ["message"]
                assert reply.headers["content-type"] == "application/json"
            await noticed()
            assert (await state(world, place.workspace.id), len(place.ear.events)) == before
            assert told(await place.session.messages()) == [
                "user stop hello",
                "assistant end_turn ok",
            ]
    assert not wrong
    assert file.read_text() == "content"
    assert names_in(tmp_path) == ["a file", "home", "project"]


def names_in(directory: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(entry.name for entry in directory.iterdir())


def fill(value: Any, workspace: str, session: str, file: str) -> Any:
    """Put real ids and names in a case."""
    match value:
        case str():
            text = value.replace("NEW", f"{file} new").replace("FILE", file)
            text = text.replace("sessions/S", f"sessions/{session}")
            return text.replace("W", f"/v1/workspaces/{workspace}", 1) if text[:1] == "W" else text
        case list():
            return [fill(item, workspace, session, file) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {
                key: session if item == "S" else fill(item, workspace, session, file)
                for key, item in value.items()  # pyright: ignore[reportUnknownVariableType]
            }
        case _:
            return value


async def state(world: Reachable, workspace: str) -> list[Any]:
    """Return what a client sees of a workspace."""
    path = f"/v1/workspaces/{workspace}"
    ends = ("/v1/workspaces", path, f"{path}/sessions", f"{path}/agent", f"{path}/permissions/skip")
    return [(await world.request("GET", end)).json for end in ends]


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n"providers": x}', ("crush.json", "not valid JSON", "line 2")),
        ('{"providers": {', ("crush.json", "not valid JSON", "truncated")),
        ('{"providers":\n\n[1]}', ("crush.json", "providers", "expected")),
        ('{"options": {"debug": "yes"}}', ("crush.json", "options.debug")),
        ('{"options": {"disable_default_providers": true}}', ("no other provider",)),
    ],
)
async def test_a_broken_configuration_is_named_and_mended_without_a_restart(
    autojump_clock: MockClock, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    """A create answers 400 with the file and the place; the next one, after it was mended, works."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world:
            write_config(world.directory, text)
            refused = await create_workspace(world, str(world.directory))
            assert refused.status == 400
            assert all(word in refused.json["message"] for word in words), refused.json
            assert world.host.workspaces == []
            assert not (world.directory / ".crush").exists()
            write_config(world.directory, config())
            assert (await create_workspace(world, str(world.directory))).status == 200


@pytest.mark.promise("C4")
async def test_a_configuration_that_breaks_while_it_is_used_is_refused_and_the_old_one_stays(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """``agent/init`` and ``agent/update`` say what is wrong; prompts go on as before."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, desk(world) as place:
            write_config(world.directory, "{")
            for end in ("init", "update"):
                reply = await world.request("POST", f"{agent_path(place.session)}/{end}")
                assert (reply.status, "crush.json" in reply.json["message"]) == (400, True)
            assert (await place.workspace.agent()).is_ready
            assert (await place.session.prompt("hello")).text == "ok"


async def test_hooks_that_are_not_run_are_told_in_the_log(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may rely on one as a guard."""
    hooks = {"PreToolUse": [{"command": "./guard.sh"}]}
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, document=config(hooks=hooks)) as world:
            async with world.visit():
                assert "hooks are configured, and are not run yet" in caplog.text


@pytest.mark.promise("C4")
async def test_a_workspace_without_a_model_says_so(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It opens, so that a client can configure it; prompts answer 400 and leave no trace."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, document={"options": {}}) as world, desk(world) as place:
            assert not (await place.workspace.agent()).is_ready
            async with world.prompt(place.session, "hello") as call:
                reply = await call.reply()
            assert (reply.status, reply.json) == (
                400,
                {"message": "agent coordinator not initialized"},
            )
            init = await world.request("POST", f"{agent_path(place.session)}/init")
            assert (init.status, init.json["message"]) == (
                400,
                "coder agent configuration is missing",
            )
            assert await place.session.messages() == []


@pytest.mark.promise("C4", "C3")
@pytest.mark.parametrize("asked", [True, False], ids=["of the client", "of the project"])
@pytest.mark.parametrize(
    "place", ["FILE", "FILE/data", "/dev/null", "/proc/nothing/here", "LOOP", "x" * 5000]
)
async def test_a_data_directory_that_cannot_be_made_is_named(
    tmp_path: Path, place: str, *, asked: bool
) -> None:
    """400, whoever named it; the server goes on, and the workspace opens with another one."""
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = place.replace("FILE", str(tmp_path / "file")).replace("LOOP", str(tmp_path / "loop"))
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path) as world:
            if not asked:
                write_config(world.directory, config(options={"data_directory": place}))
            more = {"data_dir": place} if asked else {}
            refused = await create_workspace(world, str(world.directory), **more)
            assert refused.status == 400
            assert place in refused.json["message"]
            write_config(world.directory, config())
            assert (await create_workspace(world, str(world.directory))).status == 200


@pytest.mark.promise("C4", "A1")
async def test_a_second_server_at_the_same_socket_is_refused_and_the_first_goes_on(
    tmp_path: Path,
) -> None:
    """It names the socket, takes nothing away and exits with an error."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_served_world(tmp_path) as world, desk(world) as place:
            async with open_server_process(tmp_path) as second:
                assert await second.wait() == 1
                text = f"Error: a server listens at {world.address} already\n"
                assert second.log.decode() == text
            assert (await place.session.prompt("hello")).text == "ok"
            assert (await world.request("GET", "/v1/health")).status == 200


@pytest.mark.promise("C4", "C3")
async def test_a_data_directory_held_by_another_process_answers_409_with_its_owner(
    tmp_path: Path,
) -> None:
    """A real second server; the workspace opens once the first has let go."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_served_world(tmp_path) as world:
            async with open_server_process(tmp_path, name="first") as first:
                assert (await create_workspace(first, str(world.directory))).status == 200
                refused = await create_workspace(world, str(world.directory))
                assert refused.status == 409
                message = refused.json["message"]
                assert "data directory already in use by another crush process" in message
                assert str(world.directory / ".crush") in message
                assert f"pid={first.process.pid}" in message
                assert world.host.workspaces == []
            assert (await create_workspace(world, str(world.directory))).status == 200
