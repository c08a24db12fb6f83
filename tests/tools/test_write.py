"""``write``: what is asked, written, recorded and answered."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import trio

from crush_trio.tools.base import DENIED, ToolAnswer
from tools_kit import open_toolbox


async def test_a_new_file_is_asked_for_written_and_recorded(tmp_path: Path) -> None:
    """Recorded case ``tool/granted``: request, answer, file events and read tracking are equal."""
    path = tmp_path / "new.txt"
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call("write", file_path=str(path), content="one\ntwo\n")
            assert await box.store.read_files(box.context.session_id) == [str(path)]
    (request,) = box.asked
    assert request.tool_name == "write"
    assert request.action == "write"
    assert request.description == f"Create file {path}"
    assert request.params == {"file_path": str(path), "new_content": "one\ntwo\n"}
    assert request.path == str(tmp_path)
    assert path.read_text() == "one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o644 & ~current_umask()
    assert box.versions == [(0, ""), (1, "one\ntwo\n")]
    assert answer == ToolAnswer(
        f"<result>\nFile successfully written: {path}\n</result>",
        metadata={
            "diff": "--- a/new.txt\n+++ b/new.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n",
            "additions": 2,
            "removals": 0,
        },
    )


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


async def test_a_denied_write_changes_nothing(tmp_path: Path) -> None:
    """Recorded case ``tool/denied``: the client still gets the diff. No directory is made."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            box.answer = "deny"
            answer = await box.call("write", file_path="sub/new.txt", content="x")
    diff = "--- a/sub/new.txt\n+++ b/sub/new.txt\n@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n"
    metadata: dict[str, Any] = {"diff": diff, "additions": 1, "removals": 0}
    assert answer == ToolAnswer(DENIED, is_error=True, metadata=metadata, stop_turn=True)
    assert not (tmp_path / "sub").exists()
    assert box.versions == []


async def test_a_file_that_was_viewed_can_be_replaced(tmp_path: Path) -> None:
    """The old content becomes a version once; line ends are written as they were given."""
    path = tmp_path / "a.txt"
    path.write_text("alpha\nbeta\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("view", file_path="a.txt")
            answer = await box.call("write", file_path="a.txt", content="ALPHA\r\nbeta\n")
            await box.call("write", file_path="a.txt", content="end\n")
    assert box.versions == [
        (0, "alpha\nbeta\n"),
        (1, "ALPHA\r\nbeta\n"),
        (2, "end\n"),
    ]
    assert path.read_bytes() == b"end\n"
    assert box.asked[0].params == {
        "file_path": str(path),
        "old_content": "alpha\nbeta\n",
        "new_content": "ALPHA\r\nbeta\n",
    }
    assert answer.metadata is not None
    assert (answer.metadata["additions"], answer.metadata["removals"]) == (1, 1)


async def test_what_somebody_else_wrote_in_between_becomes_a_version(tmp_path: Path) -> None:
    """So that the client's before and after tell who changed what."""
    path = tmp_path / "a.txt"
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("write", file_path="a.txt", content="1")
            path.write_text("2")
            await box.call("view", file_path="a.txt")
            await box.call("write", file_path="a.txt", content="3")
    assert box.versions == [(0, ""), (1, "1"), (2, "2"), (3, "3")]


async def test_an_existing_file_must_have_been_read_as_it_is(tmp_path: Path) -> None:
    """Unread, or modified since: refused unasked, with both times."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            unread = await box.call("write", file_path="a.txt", content="new")
            await box.call("view", file_path="a.txt")
            later = int(time.time()) + 60
            os.utime(path, (later, later))
            stale = await box.call("write", file_path="a.txt", content="new")
    assert unread.is_error
    assert "has not been read" in unread.content
    assert stale.is_error
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(later))
    assert f"was modified at {moment}, after it was last read at 2" in stale.content
    assert (path.read_text(), box.asked) == ("old", [])


async def test_a_file_that_changes_while_the_permission_is_open_is_not_overwritten(
    tmp_path: Path,
) -> None:
    """What the person said yes to is no longer what would happen."""
    path = tmp_path / "a.txt"
    answers: list[ToolAnswer] = []
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            box.answer = None

            async def write() -> None:
                answers.append(await box.call("write", file_path="a.txt", content="new"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                await box.request.wait()
                path.write_text("theirs")
                assert box.permissions.answer(box.asked[0].id, "allow")
    assert answers[0].is_error
    assert "just been changed" in answers[0].content
    assert (path.read_text(), box.versions) == ("theirs", [])


async def test_the_same_content_is_no_change(tmp_path: Path) -> None:
    """Said as an error, so that the model does not go on as if it had changed something."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("write", file_path="a.txt", content="same")
            again = await box.call("write", file_path="a.txt", content="same")
    assert again.is_error
    assert "no changes" in again.content
    assert len(box.asked) == 1


async def test_outside_of_the_workspace_the_request_names_the_file(tmp_path: Path) -> None:
    """A grant for it must not cover the workspace, nor the other way round."""
    inside = tmp_path / "inside"
    inside.mkdir()
    path = tmp_path / "new" / "out.txt"
    with trio.fail_after(5):
        async with open_toolbox(inside) as box:
            answer = await box.call("write", file_path=str(path), content="x")
    assert box.asked[0].path == str(path)
    assert path.read_text() == "x"
    assert answer.metadata is not None
    assert answer.metadata["diff"].startswith(f"--- a{path}\n+++ b{path}\n")


async def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """A directory, a missing name, a file where a directory should be."""
    (tmp_path / "file").touch()
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            directory = await box.call("write", file_path=str(tmp_path), content="x")
            unnamed = await box.call("write", file_path="", content="x")
            below = await box.call("write", file_path="file/below", content="x")
            empty = await box.call("write", file_path="empty", content="")
    assert directory.is_error
    assert "is a directory" in directory.content
    assert unnamed.content == "file_path is required"
    assert below.is_error
    assert "file" in below.content
    assert not empty.is_error
    assert (tmp_path / "empty").read_text() == ""
