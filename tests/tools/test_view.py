"""``view``: lines and pictures, as Crush's own server answered them."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
import trio

from crush_trio.tools.base import DENIED, ToolAnswer
from crush_trio.tools.files import LARGE
from crush_trio.tools.view import MAX_BYTES
from tools_kit import open_toolbox

PNG = b"\x89PNG\r\n\x1a\n rest"


async def view(directory: Path, content: bytes, **arguments: object) -> ToolAnswer:
    """View a file of a workspace with this content."""
    (directory / "a.txt").write_bytes(content)
    with trio.fail_after(5):
        async with open_toolbox(directory) as box:
            answer = await box.call("view", file_path=str(directory / "a.txt"), **arguments)
            assert box.asked == []
    return answer


async def test_a_file_is_shown_with_numbers(tmp_path: Path) -> None:
    """Recorded case ``tool/no-permission-needed``: unasked, and the file counts as read."""
    path = tmp_path / "a.txt"
    path.write_text("alpha\nbeta\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call("view", file_path="a.txt")
            assert await box.store.read_files(box.context.session_id) == [str(path)]
    assert answer.content == "<file>\n     1|alpha\n     2|beta\n     3|\n</file>\n"
    assert answer.metadata == {"file_path": str(path), "content": "alpha\nbeta\n"}
    assert box.asked == []


@pytest.mark.parametrize(
    ("content", "arguments", "shown"),
    [
        (b"", {}, "     1|"),
        (b"a", {}, "     1|a"),
        (b"a\r\nb", {}, "     1|a\n     2|b"),
        (b"a\nb\nc\n", {"offset": 1}, "     2|b\n     3|c\n     4|"),
        (b"a\nb\n", {"limit": 2}, "     1|a\n     2|b"),
        (b"a\x0bb\n", {"limit": 1}, "     1|a\x0bb"),
    ],
)
async def test_a_section_has_the_lines_that_were_asked_for(
    tmp_path: Path, content: bytes, arguments: dict[str, int], shown: str
) -> None:
    """Lines end at line feeds; after the last one comes an empty line, if there is room."""
    answer = await view(tmp_path, content, **arguments)
    assert answer.content == f"<file>\n{shown}\n</file>\n"


async def test_a_longer_file_says_that_it_goes_on(tmp_path: Path) -> None:
    """After 200 lines, or after as many as were asked for; the place is that of the last line."""
    lines = b"".join(b"%d\n" % number for number in range(1, 1001))
    answer = await view(tmp_path, lines)
    note = "\n\n(File has more lines. Use 'offset' parameter to read beyond line {})\n</file>\n"
    assert answer.content.endswith("   200|200" + note.format(200))
    answer = await view(tmp_path, lines, offset=998, limit=1)
    assert answer.content == "<file>\n   999|999" + note.format(999)
    assert answer.metadata is not None
    assert answer.metadata["content"] == "999"


async def test_long_lines_are_cut_between_characters(tmp_path: Path) -> None:
    """At 2000 bytes; the next line is where it was."""
    answer = await view(tmp_path, ("é" * 1001 + "\n" + "x" * 2000 + "\r\nend").encode())
    shown = f"     1|{'é' * 1000}...\n     2|{'x' * 2000}\n     3|end"
    assert answer.content == f"<file>\n{shown}\n</file>\n"
    answer = await view(tmp_path, ("x" + "é" * 200_000 + "\nend").encode())
    assert answer.content == f"<file>\n     1|x{'é' * 999}...\n     2|end\n</file>\n"


async def test_a_large_file_is_read_in_a_thread(tmp_path: Path) -> None:
    """With the same answer."""
    answer = await view(tmp_path, b"x" * 99 + b"\n" + b"y\n" * LARGE, limit=1)
    assert answer.content.startswith(f"<file>\n     1|{'x' * 99}\n\n(File has more lines.")


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"\xff\xfe", {}, "not valid UTF-8"),
        (b"x\n" * MAX_BYTES, {"limit": MAX_BYTES}, f"larger than {MAX_BYTES} bytes"),
        (b"a\nb", {"offset": 2}, "offset 2 is after the last line"),
    ],
)
async def test_what_cannot_be_shown_is_an_error(
    tmp_path: Path, content: bytes, arguments: dict[str, int], message: str
) -> None:
    """The model is told why."""
    answer = await view(tmp_path, content, **arguments)
    assert answer.is_error
    assert message in answer.content


async def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    """Recorded case ``tool/missing-file``; names that look like it are named, three at most."""
    for name in ("other", "None.txt.bak", "none.t", "xnone.txt", "znone.txt"):
        (tmp_path / name).touch()
    path = tmp_path / "none.txt"
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call("view", file_path=str(path))
            assert answer.content.splitlines() == [
                f"File not found: {path}",
                "",
                "Did you mean one of these?",
                str(tmp_path / "None.txt.bak"),
                str(tmp_path / "none.t"),
                str(tmp_path / "xnone.txt"),
            ]
            answer = await box.call("view", file_path=str(tmp_path / "q"))
    assert answer == ToolAnswer(f"File not found: {tmp_path / 'q'}", is_error=True)


async def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A directory has its own tool, and a pipe would make the server wait for its other end."""
    os.mkfifo(tmp_path / "pipe")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            directory = await box.call("view", file_path=str(tmp_path))
            pipe = await box.call("view", file_path="pipe")
    assert directory.is_error
    assert "is a directory" in directory.content
    assert pipe.is_error
    assert "not a regular file" in pipe.content


async def test_a_file_outside_is_asked_for(tmp_path: Path) -> None:
    """Recorded case ``tool/view-outside``; a link that leads outside counts as outside."""
    inside, outside = tmp_path / "inside", tmp_path / "outside.txt"
    inside.mkdir()
    outside.write_text("secret")
    (inside / "link").symlink_to(outside)
    with trio.fail_after(5):
        async with open_toolbox(inside) as box:
            box.answer = "deny"
            denied = await box.call("view", file_path=str(outside))
            linked = await box.call("view", file_path="link")
            box.answer = "allow"
            granted = await box.call("view", file_path=str(outside))
    assert denied == linked == ToolAnswer(DENIED, is_error=True, stop_turn=True)
    assert "secret" in granted.content
    request = box.asked[0]
    assert request.tool_name == "view"
    assert request.action == "read"
    assert request.description == f"Read file outside working directory: {outside}"
    assert request.params == {"file_path": str(outside), "offset": 0, "limit": 0}
    assert request.path == str(tmp_path)


async def test_a_file_that_is_a_skill_is_told_as_one(tmp_path: Path) -> None:
    """Clients show what was loaded by its name (agent contract 2.6)."""
    skill = tmp_path / "jq" / "SKILL.md"
    skill.parent.mkdir()
    skill.write_text("---\nname: jq\ndescription: JSON.\n---\nUse jq.\n")
    (tmp_path / "jq" / "more.md").write_text("more\n")
    with trio.fail_after(5):
        async with open_toolbox(tmp_path, skills_paths=(str(tmp_path),)) as box:
            loaded = await box.call("view", file_path=str(skill))
            other = await box.call("view", file_path=str(skill.with_name("more.md")))
    assert loaded.metadata is not None
    assert {name: told for name, told in loaded.metadata.items() if "resource" in name} == {
        "resource_type": "skill",
        "resource_name": "jq",
        "resource_description": "JSON.",
    }
    assert other.metadata == {
        "file_path": str(skill.with_name("more.md")),
        "content": "more\n",
    }


async def test_a_builtin_skill_is_shown_by_its_id(tmp_path: Path) -> None:
    """Unasked and whole, and told as loaded; an id that there is not is no file (agent 2.6)."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            loaded = await box.call("view", file_path="crush://skills/jq/SKILL.md")
            assert box.asked == []
            missing = await box.call("view", file_path="crush://skills/../view.py")
    assert "# JSON with jq" in loaded.content
    assert loaded.metadata is not None
    about = {key: loaded.metadata[key] for key in ("file_path", "resource_type", "resource_name")}
    assert about == {
        "file_path": "crush://skills/jq/SKILL.md",
        "resource_type": "skill",
        "resource_name": "jq",
    }
    assert missing.is_error
    assert "not found" in missing.content


async def test_files_of_skills_are_shown_unasked_and_whole(tmp_path: Path) -> None:
    """Their directories may be anywhere (agent contract 2.6)."""
    inside, skills = tmp_path / "inside", tmp_path / "skills"
    inside.mkdir()
    skills.mkdir()
    (skills / "SKILL.md").write_text("line of text\n" * 20_000)
    with trio.fail_after(5):
        async with open_toolbox(inside, skills_paths=(str(skills),)) as box:
            answer = await box.call("view", file_path=str(skills / "SKILL.md"))
    assert " 20000|line of text\n" in answer.content
    assert box.asked == []


async def test_a_picture_is_shown_to_a_model_that_sees(tmp_path: Path) -> None:
    """By its first bytes, not by its name; it does not count as read."""
    (tmp_path / "a.jpg").write_bytes(PNG)
    (tmp_path / "b.webp").write_bytes(b"?")
    (tmp_path / "d.png").write_bytes(b"\xff\xd8\xff rest")
    (tmp_path / "e.png").write_bytes(b"GIF89a rest")
    (tmp_path / "c.gif").write_bytes(b"x" * (MAX_BYTES + 1))
    with trio.fail_after(5):
        async with open_toolbox(tmp_path, supports_images=True) as box:
            shown = await box.call("view", file_path="a.jpg")
            odd = await box.call("view", file_path="b.webp")
            large = await box.call("view", file_path="c.gif")
            others = [await box.call("view", file_path=name) for name in ("d.png", "e.png")]
            assert await box.store.read_files(box.context.session_id) == []
        async with open_toolbox(tmp_path) as box:
            blind = await box.call("view", file_path="a.jpg")
    expected = base64.b64encode(PNG).decode()
    assert shown == ToolAnswer("", data=expected, mime_type="image/png")
    assert odd.mime_type == "image/webp"
    assert [other.mime_type for other in others] == ["image/jpeg", "image/gif"]
    assert large.is_error
    assert "too large" in large.content
    assert blind.is_error
    assert "'blind'" in blind.content
