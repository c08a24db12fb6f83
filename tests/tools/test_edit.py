"""``edit``: what is asked, changed, recorded and answered."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from crush_trio.tools.base import DENIED, ToolAnswer
from crush_trio.tools.edit import LOOSELY
from crush_trio.tools.edits import NOT_FOUND
from crush_trio.tools.files import LARGE, LARGEST
from limits_kit import REAL_LIMIT
from tools_kit import open_toolbox


async def test_text_in_a_file_is_replaced(tmp_path: Path) -> None:
    """Recorded case ``tool/edit-history``: answer, metadata, versions and reads are equal."""
    path = tmp_path / "h.txt"
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("write", file_path=str(path), content="one\ntwo\n")
            answer = await box.call(
                "edit", file_path=str(path), old_string="two", new_string="three"
            )
            assert await box.store.read_files(box.context.session_id) == [str(path)]
    texts = {"old_content": "one\ntwo\n", "new_content": "one\nthree\n"}
    assert answer == ToolAnswer(
        f"<result>\nContent replaced in file: {path}\n</result>\n",
        metadata={"additions": 1, "removals": 1} | texts,
    )
    assert path.read_text() == "one\nthree\n"
    assert box.versions == [(0, ""), (1, "one\ntwo\n"), (2, "one\nthree\n")]
    request = box.asked[1]
    assert (request.tool_name, request.action) == ("edit", "write")
    assert request.description == f"Replace content in file {path}"
    assert request.params == {"file_path": str(path)} | texts
    assert request.path == str(tmp_path)


async def test_text_is_deleted(tmp_path: Path) -> None:
    """Agent contract 2.8: with words of its own; empty contents are left out."""
    path = tmp_path / "a.txt"
    path.write_text("gone")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("view", file_path="a.txt")
            answer = await box.call("edit", file_path="a.txt", old_string="gone", new_string="")
    assert box.asked[0].description == f"Delete content from file {path}"
    assert box.asked[0].params == {"file_path": str(path), "old_content": "gone"}
    assert answer.content == f"<result>\nContent deleted from file: {path}\n</result>\n"
    assert answer.metadata == {"additions": 0, "removals": 1, "old_content": "gone"}
    assert path.read_text() == ""


async def test_a_file_is_created_with_its_directories(tmp_path: Path) -> None:
    """By an empty ``old_string``; the first version is the empty one."""
    path = tmp_path / "new" / "a.txt"
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call("edit", file_path="new/a.txt", old_string="", new_string="x\n")
    assert box.asked[0].description == f"Create file {path}"
    assert box.asked[0].params == {"file_path": str(path), "new_content": "x\n"}
    assert answer.content == f"<result>\nFile created: {path}\n</result>\n"
    assert answer.metadata == {"additions": 1, "removals": 0, "new_content": "x\n"}
    assert box.versions == [(0, ""), (1, "x\n")]
    assert path.read_text() == "x\n"


async def test_what_exists_is_not_created(tmp_path: Path) -> None:
    """Neither over a file nor over a directory, and nobody is asked."""
    (tmp_path / "a.txt").write_text("old")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            file = await box.call("edit", file_path="a.txt", old_string="", new_string="x")
            directory = await box.call(
                "edit", file_path=str(tmp_path), old_string="", new_string="x"
            )
            unnamed = await box.call("edit", file_path="", old_string="", new_string="x")
    assert file.is_error
    assert "already exists" in file.content
    assert directory.is_error
    assert "is a directory" in directory.content
    assert unnamed == ToolAnswer("file_path is required", is_error=True)
    assert ((tmp_path / "a.txt").read_text(), box.asked) == ("old", [])


async def test_an_existing_file_must_have_been_read_as_it_is(tmp_path: Path) -> None:
    """Missing, unread, or modified since: refused unasked (agent contract 2.3)."""
    path = tmp_path / "a.txt"
    edit: dict[str, Any] = {"file_path": "a.txt", "old_string": "old", "new_string": "new"}
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            missing = await box.call("edit", **edit)
            path.write_text("old")
            unread = await box.call("edit", **edit)
            await box.call("view", file_path="a.txt")
            later = int(time.time()) + 60
            os.utime(path, (later, later))
            stale = await box.call("edit", **edit)
    assert missing == ToolAnswer(f"file not found: {path}", is_error=True)
    assert "has not been read" in unread.content
    assert "was modified at" in stale.content
    assert (path.read_text(), box.asked) == ("old", [])


async def test_a_disk_whose_clock_is_ahead_is_no_obstacle(tmp_path: Path) -> None:
    """A file on another machine may be newer than now; it is known as it was read."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    later = int(time.time()) + 3600
    os.utime(path, (later, later))
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("view", file_path="a.txt")
            answer = await box.call("edit", file_path="a.txt", old_string="old", new_string="new")
    assert not answer.is_error
    assert path.read_text() == "new"


async def test_a_denied_edit_changes_nothing_and_shows_what_it_would_have(tmp_path: Path) -> None:
    """Agent contract 2.1: the metadata is that of the edit."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("view", file_path="a.txt")
            box.answer = "deny"
            answer = await box.call("edit", file_path="a.txt", old_string="old", new_string="new")
    texts = {"old_content": "old", "new_content": "new"}
    metadata = {"additions": 1, "removals": 1} | texts
    assert answer == ToolAnswer(DENIED, is_error=True, metadata=metadata, stop_turn=True)
    assert (path.read_text(), box.versions) == ("old", [])


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("a", {"old_string": "b", "new_string": "c"}, NOT_FOUND),
        ("a a", {"old_string": "a", "new_string": "c"}, "appears 2 times"),
        ("a", {"old_string": "a", "new_string": "a"}, "are the same"),
    ],
)
async def test_an_edit_that_does_not_apply_is_an_error(
    tmp_path: Path, content: str, arguments: dict[str, Any], message: str
) -> None:
    """The model is told why; nobody is asked."""
    (tmp_path / "a.txt").write_text(content)
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("view", file_path="a.txt")
            answer = await box.call("edit", file_path="a.txt", **arguments)
    assert answer.is_error
    assert message in answer.content
    assert box.asked == []


async def test_all_occurrences_and_loose_places_are_replaced(tmp_path: Path) -> None:
    """``replace_all``; and a note where only white space was different."""
    path = tmp_path / "a.txt"
    path.write_text("x = 1\nif x  == 1:\n    x = 2\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("view", file_path="a.txt")
            await box.call(
                "edit", file_path="a.txt", old_string="x", new_string="y", replace_all=True
            )
            answer = await box.call(
                "edit", file_path="a.txt", old_string="if y == 1:", new_string="if y:"
            )
    assert path.read_text() == "y = 1\nif y:\n    y = 2\n"
    message = f"Content replaced in file: {path}\n{LOOSELY}"
    assert answer.content == f"<result>\n{message}\n</result>\n"


async def test_carriage_returns_are_kept_and_not_shown(tmp_path: Path) -> None:
    """Agent contract 2.3: clients and models see line feeds, the disk and the history do not."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\ntwo\r\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("view", file_path="a.txt")
            answer = await box.call(
                "edit", file_path="a.txt", old_string="one\ntwo", new_string="1\n2\n3"
            )
    assert path.read_bytes() == b"1\r\n2\r\n3\r\n"
    texts = {"old_content": "one\ntwo\n", "new_content": "1\n2\n3\n"}
    assert answer.metadata == {"additions": 3, "removals": 2} | texts
    assert box.asked[0].params == {"file_path": str(path)} | texts
    assert box.versions == [(0, "one\r\ntwo\r\n"), (1, "1\r\n2\r\n3\r\n")]


async def test_bytes_that_are_no_text_stay_as_they_are(tmp_path: Path) -> None:
    """A file in another encoding is not harmed by an edit beside them."""
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9\nold\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.store.record_read(box.context.session_id, str(path)).wait()
            answer = await box.call(
                "edit", file_path="latin.txt", old_string="old", new_string="new"
            )
    assert path.read_bytes() == b"caf\xe9\nnew\n"
    assert answer.metadata is not None
    assert answer.metadata["new_content"] == "caf?\nnew\n"
    assert box.versions == [(0, "caf?\nold\n"), (1, "caf?\nnew\n")]


async def test_large_files_are_edited_in_a_thread_and_huge_ones_not_at_all(tmp_path: Path) -> None:
    """With the same answer; a client is sent all of a file twice, so there is a limit."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"x\n" * LARGE + b"end\n")
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box:
            await box.store.record_read(box.context.session_id, str(path)).wait()
            answer = await box.call("edit", file_path="a.txt", old_string="end", new_string="END")
            os.truncate(path, LARGEST + 1)
            huge = await box.call("edit", file_path="a.txt", old_string="END", new_string="x")
    assert not answer.is_error
    assert answer.metadata is not None
    assert (answer.metadata["additions"], answer.metadata["removals"]) == (1, 1)
    assert huge.is_error
    assert "too large" in huge.content


async def test_an_edit_after_an_edit_needs_no_view(tmp_path: Path) -> None:
    """The tool knows what it has written."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            await box.call("edit", file_path="a.txt", old_string="", new_string="1")
            await box.call("edit", file_path="a.txt", old_string="1", new_string="2")
            answer = await box.call("edit", file_path="a.txt", old_string="2", new_string="3")
    assert not answer.is_error
    assert box.versions == [(0, ""), (1, "1"), (2, "2"), (3, "3")]
