"""Files through HTTP and in virtual time: what tools change and read, and what clients learn of it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crush_trio.providers.scripted import Answer, Call, ScriptedModel
from crush_trio.tools.files import LARGEST
from history_kit import check_stream
from limits_kit import REAL_LIMIT
from people_kit import Desk, Reachable, desk, events_path
from project_kit import config
from world_kit import EPOCH, World, open_served_world, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""

NEVER = "0001-01-01T00:00:00Z"


def using(*calls: Call) -> ScriptedModel:
    """Return a model that calls tools, one a step."""
    steps: list[Answer] = [[call] for call in calls]
    return ScriptedModel(*steps)


def write(name: str, content: str) -> Call:
    return Call("write", {"file_path": name, "content": content}, id=f"write {name}")


def edit(name: str, old: str, new: str) -> Call:
    arguments = {"file_path": name, "old_string": old, "new_string": new}
    return Call("edit", arguments, id=f"edit {name}")


def base(place: Desk) -> str:
    """Return the path of a workspace."""
    return f"/v1{place.workspace._path}"


async def get(world: Reachable, path: str) -> Any:
    """Return the body of an answer that must be good."""
    reply = await world.request("GET", path)
    assert reply.status == 200
    return reply.json


async def history(world: World, place: Desk) -> Any:
    """Return what R-19 answers for the session."""
    return await get(world, f"{base(place)}/sessions/{place.session.id}/history")


async def tracked(world: World, place: Desk) -> Any:
    """Return what R-23 answers for the session."""
    return await get(world, f"{base(place)}/sessions/{place.session.id}/filetracker/files")


async def test_r19_history_has_every_version_the_first_one_first(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With the keys that the client reads, in the order of the versions; the contents are whole."""
    model = using(write("a.txt", "one\r\n"), edit("a.txt", "one", "two"), write("b.txt", "b"))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world, yolo=True) as place:
            assert await history(world, place) == []
            await place.session.prompt("hello")
            found = await history(world, place)
            unknown = await get(world, f"{base(place)}/sessions/nobody/history")
    files = [str(world.directory / name) for name in ("a.txt", "b.txt")]
    assert [(one["path"], one["version"], one["content"]) for one in found] == [
        (files[0], 0, ""),
        (files[1], 0, ""),
        (files[0], 1, "one\r\n"),
        (files[1], 1, "b"),
        (files[0], 2, "two\r\n"),
    ]
    keys = ["id", "session_id", "path", "content", "version", "created_at", "updated_at"]
    assert all(list(one) == keys and one["session_id"] == place.session.id for one in found)
    assert all(EPOCH <= one["created_at"] == one["updated_at"] for one in found)
    assert unknown == []


async def test_5_5_file_events_are_those_of_the_history_byte_for_byte(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Each version is a ``created`` event, before the result of the tool that made it (5.7)."""
    model = using(write("a.txt", "é\n"))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world, yolo=True) as place:
            async with world.call("GET", events_path(place.workspace)) as call:
                await call.head()
                await place.session.prompt("hello")
                stored = await history(world, place)
                heard = b""
                while b'"run_complete"' not in heard:
                    heard += bytes(await call.stream.receive_some(65_536))
            check_stream(place.ear.events)
    lines = [line for line in heard.split(b"\n") if line.startswith(b'data: {"type":"file"')]
    assert lines == [
        (
            'data: {"type":"file","payload":{"type":"created","payload":{'
            f'"id":"{one["id"]}","session_id":"{one["session_id"]}","path":"{one["path"]}",'
            f'"content":{json.dumps(one["content"], ensure_ascii=False)},'
            f'"version":{one["version"]},"created_at":{one["created_at"]},'
            f'"updated_at":{one["updated_at"]}}}}}}}'
        ).encode()
        for one in stored
    ]
    assert len(lines) == 2
    assert heard.index(lines[1]) < heard.index(b'"tool_result"')


async def test_9_2_edits_are_asked_for_with_both_texts(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The bytes of the request, from which the client draws the difference."""
    model = using(edit("a.txt", "", "new\n"))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            async with (
                world.call("GET", events_path(place.workspace)) as call,
                world.prompt(place.session, "hello") as prompt,
            ):
                heard = await call.head()
                while b'"permission_request"' not in heard:
                    heard += bytes(await call.stream.receive_some(65_536))
                request = (await place.ear.wait(lambda e: e.type == "permission_request")).payload
                assert await place.workspace.grant(request, "allow")
                assert (await prompt.reply()).status == 200
    (line,) = re.findall(rb'data: \{"type":"permission_request".*', heard)
    path = world.directory / "a.txt"
    assert line.decode() == (
        'data: {"type":"permission_request","payload":{"type":"created","payload":{'
        f'"id":"{request.id}","session_id":"{place.session.id}","tool_call_id":"edit a.txt",'
        f'"tool_name":"edit","description":"Create file {path}","action":"write",'
        f'"params":{{"file_path":"{path}","new_content":"new\\n"}},"path":"{world.directory}"}}}}}}'
    )
    assert path.read_text() == "new\n"


async def test_r23_files_that_were_read_come_latest_first(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Also those that were changed, and those of which a client says so; as absolute paths."""
    model = using(write("a.txt", "x"), Call("view", {"file_path": "a.txt"}, id="v"))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world, yolo=True) as place:
            assert await tracked(world, place) == []
            await place.session.prompt("hello")
            path = str(world.directory / "a.txt")
            assert await tracked(world, place) == [path]
            for other in ("/elsewhere/b", "/elsewhere/c", path):
                body = {"session_id": place.session.id, "path": other}
                reply = await world.request("POST", f"{base(place)}/filetracker/read", body)
                assert (reply.status, reply.body) == (200, b"")
            assert await tracked(world, place) == [path, "/elsewhere/c", "/elsewhere/b"]
            assert await get(world, f"{base(place)}/sessions/nobody/filetracker/files") == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"session_id": "nobody", "path": "/x"}, 200),
        ({}, 200),
        (b"", 400),
        (b"{", 400),
        ({"path": 5}, 400),
    ],
)
async def test_r24_a_read_that_cannot_be_recorded_is_no_error_but_nonsense_is(
    autojump_clock: MockClock, tmp_path: Path, body: object, status: int
) -> None:
    """Recorded case ``filetracker/all``; nothing is recorded and no event tells of it."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, desk(world) as place:
            events = len(place.ear.events)
            reply = await world.request("POST", f"{base(place)}/filetracker/read", body)
            assert reply.status == status
            assert (reply.body == b"") == (status == 200)
            assert await tracked(world, place) == []
            assert len(place.ear.events) == events


async def test_r25_the_time_of_the_last_read_is_a_string(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """In RFC 3339; year one where there was none, also without parameters."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, desk(world) as place:
            ask = f"{base(place)}/filetracker/lastread"
            body = {"session_id": place.session.id, "path": "/x y"}
            await world.request("POST", f"{base(place)}/filetracker/read", body)
            found = await get(world, f"{ask}?session_id={place.session.id}&path=/x%20y")
            other = await get(world, f"{ask}?session_id={place.session.id}&path=/z")
            nobody = await get(world, f"{ask}?session_id=nobody&path=/x%20y")
            nothing = await get(world, ask)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found)
    assert [other, nobody, nothing] == [NEVER] * 3


async def test_what_a_client_says_was_read_may_be_edited(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Agent contract 2.3: a file mentioned in a prompt counts as read by its session."""
    model = using(edit("a.txt", "old", "new"))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world, yolo=True) as place:
            path = world.directory / "a.txt"
            path.write_text("old")
            os.utime(path, (EPOCH, EPOCH))  # the disk's clock is not the world's
            body = {"session_id": place.session.id, "path": str(path)}
            await world.request("POST", f"{base(place)}/filetracker/read", body)
            await place.session.prompt("hello")
            assert path.read_text() == "new"


async def test_the_client_library_knows_the_files_of_a_session(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """All four routes, typed."""
    with trio.fail_after(LIMIT):
        async with (
            open_world(tmp_path, using(write("a.txt", "x"))) as world,
            desk(world, yolo=True) as place,
        ):
            session = place.session
            assert (await session.history(), await session.read_files()) == ([], [])
            await session.prompt("hello")
            path = str(world.directory / "a.txt")
            assert [(file.path, file.content) for file in await session.history()] == [
                (path, ""),
                (path, "x"),
            ]
            assert await session.last_read("/b") is None
            await session.record_read("/b")
            assert await session.read_files() == [path, "/b"]
            moment = await session.last_read("/b")
            assert moment is not None
            assert moment.timestamp() >= EPOCH


async def test_files_of_skills_may_be_read_unasked(tmp_path: Path) -> None:
    """Agent contract 2.6: wherever ``options.skills_paths`` are, and nothing beside them. In real
    time: a thread looks for skills."""
    skills, elsewhere = tmp_path / "skills", tmp_path / "elsewhere"
    for directory in (skills, elsewhere):
        directory.mkdir()
        (directory / "SKILL.md").write_text("a skill")
    document = config(options={"skills_paths": ["~/../skills"]})
    calls = [
        Call("view", {"file_path": str(d / "SKILL.md")}, id=d.name) for d in (skills, elsewhere)
    ]
    with trio.fail_after(LIMIT):
        async with (
            open_served_world(tmp_path, using(*calls), document=document) as world,
            desk(world) as place,
        ):
            await place.session.submit("hello")
            request = await place.ear.wait(lambda event: event.type == "permission_request")
    assert request.payload.tool_call_id == "elsewhere"


@pytest.mark.promise("S2", "S3")
async def test_the_largest_change_ends_nobodys_stream(tmp_path: Path) -> None:
    """All of it goes through the log at once, and a reader that keeps up hears every event. In
    real time: large files are read in threads."""
    model = using(edit("a.txt", "old", "new"))
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model) as world, desk(world, plain=True) as place:
            path = world.directory / "a.txt"
            path.write_text(('"' * 99 + "\n") * ((LARGEST - 3) // 100) + "old")
            os.utime(path, (EPOCH, EPOCH))
            await place.session.record_read(str(path))
            submitted = await place.session.submit("hello")
            request = await place.ear.wait(lambda event: event.type == "permission_request")
            assert await place.workspace.grant(request.payload, "allow")
            await place.ear.wait_complete(submitted.run_id)
            assert not place.ear.ended.is_set()
    assert [len(file.content) for file in place.ear.of("file")] == [path.stat().st_size] * 2
    check_stream(place.ear.events)
