"""``ls``: trees, limits and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from crush_trio.tools.base import DENIED, ToolAnswer
from crush_trio.wire.config import LsLimits
from tools_kit import open_toolbox


def grow(root: Path, *paths: str) -> None:
    """Make empty files, and directories for names that end in a slash."""
    for path in paths:
        place = root / path
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


async def ls(directory: Path, limits: LsLimits | None = None, **arguments: object) -> ToolAnswer:
    """List a workspace that no user's ignore files reach."""
    with trio.fail_after(5):
        async with open_toolbox(
            directory, env={"HOME": str(directory / "home")}, limits=limits
        ) as box:
            return await box.call("ls", **arguments)


async def test_a_tree_shows_directories_first(tmp_path: Path) -> None:
    """Agent contract 2.12, letter for letter: an empty line, the place, the tree."""
    grow(tmp_path, ".git/", "README.md", "src/main.py", "src/a/b.py", "zoo/")
    answer = await ls(tmp_path)
    assert answer.content == (
        f"\n- {tmp_path}/\n  - src/\n    - a/\n      - b.py\n    - main.py\n  - zoo/\n"
        "  - README.md\n"
    )
    assert answer.metadata == {"number_of_files": 6, "truncated": False}


async def test_a_listing_of_a_sub_directory_counts_its_files(tmp_path: Path) -> None:
    """Recorded case ``tool/ls-glob-grep``."""
    grow(tmp_path, ".git/", "src/x.py", "src/y.py")
    answer = await ls(tmp_path, path=str(tmp_path / "src"))
    assert answer.metadata == {"number_of_files": 2, "truncated": False}


async def test_outside_of_git_little_is_shown(tmp_path: Path) -> None:
    """Two levels and 100 entries: such a directory may be anything."""
    grow(tmp_path, "a/b/c/d", *(f"f{number:03}" for number in range(200)))
    answer = await ls(tmp_path)
    assert answer.content.startswith("The tree is shown to depth 2")
    assert answer.metadata == {"number_of_files": 100, "truncated": True}
    answer = await ls(tmp_path, LsLimits(max_depth=0, max_items=1000))
    assert "      - c/\n        - d\n" in answer.content
    assert answer.metadata == {"number_of_files": 204, "truncated": False}


async def test_a_cut_tree_says_so_and_has_its_upper_levels(tmp_path: Path) -> None:
    """A limit takes away the depths first."""
    grow(tmp_path, ".git/", "a/1", "a/2", "b", "c")
    answer = await ls(tmp_path, LsLimits(max_items=3))
    first, tree = answer.content.split("\n\n")
    assert first.startswith("There are more than 3 files in the directory. ")
    assert tree == f"- {tmp_path}/\n  - a/\n  - b\n  - c\n"
    assert answer.metadata == {"number_of_files": 3, "truncated": True}


async def test_a_depth_that_was_asked_for_is_kept(tmp_path: Path) -> None:
    """It outranks the configured one; 0 asks for nothing."""
    grow(tmp_path, ".git/", "a/b/c")
    answer = await ls(tmp_path, LsLimits(max_depth=3), depth=1)
    assert answer.content.endswith(f"\n\n- {tmp_path}/\n  - a/\n")
    assert answer.content.startswith("The tree is shown to depth 1;")


async def test_what_version_control_ignores_is_left_out(tmp_path: Path) -> None:
    """Ignore files of every level and of the user, the tool's own globs, and what is always out."""
    grow(tmp_path, ".git/config", "node_modules/x", "a.pyc", "keep.txt", "secret.key", "q.tmpl")
    grow(tmp_path, "gen/", "sub/gen", "sub/secret.key", "sub/deep/own.txt", "mine", "theirs")
    (tmp_path / ".gitignore").write_text("*.key\n/gen/\n!\n")
    (tmp_path / "sub" / ".gitignore").write_text("!secret.key\n")
    (tmp_path / "sub" / ".crushignore").write_text("deep/own.*\n")
    config = tmp_path / "home" / ".config"
    grow(config, "git/", "crush/")
    (config / "git" / "ignore").write_text("theirs\nhome\n")
    (config / "crush" / "ignore").write_text("mine\n")
    answer = await ls(tmp_path, ignore=["*.tmpl"])
    assert answer.content == (
        f"\n- {tmp_path}/\n  - sub/\n    - deep/\n    - .crushignore\n    - .gitignore\n"
        "    - gen\n    - secret.key\n  - .gitignore\n  - keep.txt\n"
    )


async def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    """Links to directories are followed, but no directory is shown twice."""
    grow(tmp_path, ".git/", "a/f")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    answer = await ls(tmp_path)
    assert answer.content == (
        f"\n- {tmp_path}/\n  - a/\n    - up/\n    - f\n  - b/\n  - dangling\n"
    )


@pytest.mark.parametrize("path", ["$OUT", "~/../outside", "../outside"])
async def test_a_directory_outside_is_asked_for(tmp_path: Path, path: str) -> None:
    """With all params, whatever way it was named."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    grow(tmp_path, "inside/", "outside/found")
    env = {"HOME": str(inside), "OUT": str(outside)}
    with trio.fail_after(5):
        async with open_toolbox(inside, env=env) as box:
            answer = await box.call("ls", path=path)
            box.answer = "deny"
            denied = await box.call("ls", path=path, ignore=["x"], depth=1)
    assert "- found\n" in answer.content
    assert denied == ToolAnswer(DENIED, is_error=True, stop_turn=True)
    first, second = box.asked
    assert first.action == "list"
    assert first.path == str(outside)
    assert first.description == f"List directory outside working directory: {outside}"
    assert first.params == {"path": path, "ignore": None, "depth": 0}
    assert second.params == {"path": path, "ignore": ["x"], "depth": 1}


@pytest.mark.parametrize("path", ["none", "file"])
async def test_only_directories_can_be_listed(tmp_path: Path, path: str) -> None:
    """Anything else is an error that names the path."""
    grow(tmp_path, "file")
    answer = await ls(tmp_path, path=path)
    assert answer.is_error
    assert str(tmp_path / path) in answer.content
