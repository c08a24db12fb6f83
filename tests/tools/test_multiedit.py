"""``multiedit``: several edits as one change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from crush_trio.tools.base import DENIED, ToolAnswer
from crush_trio.tools.edit import LOOSELY
from crush_trio.tools.edits import NOT_FOUND
from tools_kit import Toolbox, open_toolbox


def edit(old: str, new: str, **more: bool | None) -> dict[str, Any]:
    """Return one edit as a model writes it."""
    return {"old_string": old, "new_string": new, **more}


async def multiedit(box: Toolbox, *edits: dict[str, Any]) -> ToolAnswer:
    """View a file and edit it."""
    await box.call("view", file_path="a.txt")
    return await box.call("multiedit", file_path="a.txt", edits=list(edits))


async def test_edits_that_fail_are_left_out_and_named(tmp_path: Path) -> None:
    """Recorded case ``tool/multiedit``: answer, metadata and request are equal."""
    path = tmp_path / "a.txt"
    path.write_text("alpha\nbeta\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await multiedit(box, edit("alpha", "ALPHA"), edit("nothing", "x"))
    texts = {"old_content": "alpha\nbeta\n", "new_content": "ALPHA\nbeta\n"}
    failed = {
        "index": 2,
        "error": NOT_FOUND,
        "edit": {"old_string": "nothing", "new_string": "x"},
    }
    assert answer == ToolAnswer(
        f"<result>\nApplied 1 of 2 edits to file: {path} (1 edit(s) failed)\n</result>\n",
        metadata={"additions": 1, "removals": 1}
        | texts
        | {"edits_applied": 1, "edits_failed": [failed]},
    )
    (request,) = box.asked
    assert (request.tool_name, request.action) == ("multiedit", "write")
    assert request.description == f"Apply 1 of 2 edits to file {path} (1 failed)"
    assert request.params == {"file_path": str(path)} | texts
    assert path.read_text() == "ALPHA\nbeta\n"
    assert box.versions == [(0, "alpha\nbeta\n"), (1, "ALPHA\nbeta\n")]


async def test_edits_apply_in_order_each_to_the_result_of_the_last(tmp_path: Path) -> None:
    """One permission and one version for all of them; the note if one was found loosely."""
    path = tmp_path / "a.txt"
    path.write_text("a\nb  c\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await multiedit(
                box,
                edit("a", "x x"),
                edit("x", "y", replace_all=True),
                edit("b c", "d", replace_all=None),
            )
    assert path.read_text() == "y y\nd\n"
    message = f"Applied 3 edits to file: {path}\n{LOOSELY}"
    assert answer.content == f"<result>\n{message}\n</result>\n"
    assert answer.metadata is not None
    assert answer.metadata["edits_applied"] == 3
    assert "edits_failed" not in answer.metadata
    assert box.asked[0].description == f"Apply 3 edits to file {path}"
    assert [content for _, content in box.versions] == ["a\nb  c\n", "y y\nd\n"]


async def test_a_file_is_created_and_edited_at_once(tmp_path: Path) -> None:
    """The first edit makes it; the others count, too."""
    path = tmp_path / "a.txt"
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call(
                "multiedit", file_path="a.txt", edits=[edit("", "one\n"), edit("one", "1")]
            )
            path.unlink()
            partly = await box.call(
                "multiedit",
                file_path="a.txt",
                edits=[edit("", "one\n"), edit("two", "2", replace_all=True)],
            )
            existing = await box.call("multiedit", file_path="a.txt", edits=[edit("", "two")])
    assert answer.content == f"<result>\nFile created with 2 edits: {path}\n</result>\n"
    assert answer.metadata == {
        "additions": 1,
        "removals": 0,
        "new_content": "1\n",
        "edits_applied": 2,
    }
    assert [request.description for request in box.asked] == [
        f"Create file {path} with 2 edits",
        f"Create file {path} with 1 of 2 edits (1 failed)",
    ]
    message = f"File created with 1 of 2 edits: {path} (1 edit(s) failed)"
    assert partly.content == f"<result>\n{message}\n</result>\n"
    assert partly.metadata is not None
    failed = partly.metadata["edits_failed"][0]["edit"]
    assert failed == {"old_string": "two", "new_string": "2", "replace_all": True}
    assert existing.is_error
    assert "already exists" in existing.content
    assert path.read_text() == "one\n"


async def test_edits_that_change_nothing_are_an_error(tmp_path: Path) -> None:
    """All failed: with metadata, so that the client can say which; or the text is the same again."""
    path = tmp_path / "a.txt"
    path.write_text("a")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            failed = await multiedit(box, edit("b", "c"), edit("a", "a"))
            undone = await multiedit(box, edit("a", "b"), edit("b", "a"))
    assert failed.is_error
    assert f"2 of 2 edits failed: {path}" in failed.content
    assert failed.metadata is not None
    metadata = dict(failed.metadata)
    assert [one["index"] for one in metadata.pop("edits_failed")] == [1, 2]
    assert metadata == {"additions": 0, "removals": 0, "edits_applied": 0}
    assert undone == ToolAnswer(f"the edits leave identical content: {path}", is_error=True)
    assert box.asked == []


async def test_edits_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """None at all, or a file created in the middle; the file must have been read."""
    path = tmp_path / "a.txt"
    path.write_text("a")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            unread = await box.call("multiedit", file_path="a.txt", edits=[edit("a", "b")])
            none = await multiedit(box)
            middle = await multiedit(box, edit("a", "b"), edit("", "c"))
            shapeless = await box.call("multiedit", file_path="a.txt", edits=[{"old_string": "a"}])
            unnamed = await box.call("multiedit", file_path="", edits=[edit("a", "b")])
    assert "has not been read" in unread.content
    assert "edits is required" in none.content
    assert "edit 2: only the first edit" in middle.content
    assert shapeless.content == "edits[0].new_string is required"
    assert unnamed.content == "file_path is required"
    assert (path.read_text(), box.asked) == ("a", [])


async def test_denied_edits_change_nothing_and_show_what_they_would_have(tmp_path: Path) -> None:
    """Agent contract 2.1."""
    path = tmp_path / "a.txt"
    path.write_text("a")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            box.answer = "deny"
            answer = await multiedit(box, edit("a", "b"))
    assert (answer.content, answer.is_error, answer.stop_turn) == (DENIED, True, True)
    assert answer.metadata == {
        "additions": 1,
        "removals": 1,
        "old_content": "a",
        "new_content": "b",
        "edits_applied": 1,
    }
    assert path.read_text() == "a"
