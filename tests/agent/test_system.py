"""The system prompt: where the agent works, and what the project and the user say."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio

from crush_trio.agent.system import MAX_CONTEXT_BYTES, system_prompt, template
from limits_kit import REAL_LIMIT
from tools_kit import is_alive, open_ear

NOW = datetime(2026, 3, 4, tzinfo=UTC)


async def prompt(directory: Path, *paths: str, **fields: object) -> str:
    env = {"HOME": str(directory / "home"), "PATH": os.environ["PATH"]}
    with trio.fail_after(10):
        return await system_prompt(directory, env=env, context_paths=paths, now=NOW, **fields)  # pyright: ignore[reportArgumentType]


async def test_it_says_where_and_when(tmp_path: Path) -> None:
    """In the contract's form; a directory without git says so and asks git nothing."""
    text = await prompt(tmp_path)
    assert text.startswith(template("coder"))
    assert f"Working directory: {tmp_path}\n" in text
    assert "Is directory a git repo: no\n" in text
    assert "Today's date: 3/4/2026\n" in text
    assert "Status" not in text


GIT = """#!/bin/sh
case "$1" in
branch) echo trunk;;
status) echo "?? new.txt";;
*) exit 128;;  # as of a repository without a commit
esac
"""


async def test_it_tells_what_git_says(tmp_path: Path) -> None:
    """Branch, status and last commits; what git does not tell is left out."""
    (tmp_path / ".git").mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text(GIT)
    (programs / "git").chmod(0o755)
    with trio.fail_after(REAL_LIMIT):
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        text = await system_prompt(tmp_path, env={"HOME": str(tmp_path), "PATH": path}, now=NOW)
    assert "Is directory a git repo: yes" in text
    assert "Current branch: trunk" in text
    assert "Status:\n?? new.txt" in text
    assert "Recent commits" not in text


async def test_a_broken_git_directory_does_no_harm(tmp_path: Path) -> None:
    """Git fails; the prompt is made all the same."""
    (tmp_path / ".git").mkdir()
    assert "Is directory a git repo: yes" in await prompt(tmp_path)


async def test_it_holds_what_the_project_says(tmp_path: Path) -> None:
    """Each real file once, however many names it has; directories with all their files."""
    (tmp_path / "CRUSH.md").write_text("use tabs")
    (tmp_path / "AGENTS.md").symlink_to("CRUSH.md")
    rules = tmp_path / ".cursor" / "rules"
    rules.mkdir(parents=True)
    (rules / "a.md").write_text("rule a")
    (tmp_path / "extra.md").write_bytes(b"bad \xff byte")
    text = await prompt(tmp_path, "extra.md", "missing.md")
    assert text.count("use tabs") == 1
    assert f'<file path="{rules / "a.md"}">\nrule a\n</file>' in text
    assert "bad \ufffd byte" in text
    assert text.count("<project_context>") == 1


async def test_a_file_that_is_too_large_is_no_instruction(tmp_path: Path) -> None:
    """It is left out, not cut."""
    (tmp_path / "CRUSH.md").write_text("x" * (MAX_CONTEXT_BYTES + 1))
    assert "<project_context>" not in await prompt(tmp_path)


async def test_it_holds_what_the_user_says(tmp_path: Path) -> None:
    """From the user's own files, or from those that the configuration names instead."""
    config = tmp_path / "home" / ".config" / "crush"
    config.mkdir(parents=True)
    (config / "CRUSH.md").write_text("be brief")
    (tmp_path / "home" / "mine.md").write_text("be kind")
    text = await prompt(tmp_path)
    assert "<user_preferences>" in text
    assert "be brief" in text
    other = await prompt(tmp_path, global_context_paths=("~/mine.md", "$HOME/mine.md"))
    assert "be brief" not in other
    assert other.count("be kind") == 1


@pytest.mark.promise("R5", "R11")
async def test_a_cancel_ends_the_wait_for_git(tmp_path: Path) -> None:
    """A git that hangs does not hold a cancelled run, and does not outlive it."""
    with trio.fail_after(REAL_LIMIT):
        async with open_ear(tmp_path) as ear, trio.open_nursery() as nursery:
            git = tmp_path / "bin" / "git"
            git.parent.mkdir()
            git.write_text(f"#!/bin/sh\necho $$ > {ear.path}\nexec sleep 300\n")
            git.chmod(0o755)
            (tmp_path / ".git").mkdir()
            env = {"HOME": str(tmp_path), "PATH": f"{git.parent}:{os.environ['PATH']}"}
            nursery.start_soon(partial(system_prompt, tmp_path, env=env, now=NOW))
            pid = await ear.pid()
            nursery.cancel_scope.cancel("test")
        assert not is_alive(pid)


@pytest.mark.promise("R5")
async def test_a_tree_of_instructions_holds_nobody_up(tmp_path: Path) -> None:
    """It may be large: others run while it is read, and a cancel does not wait for it."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.md").write_text("rule a")
    others = trio.Event()

    async def run_beside() -> None:
        others.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_beside)
        assert "rule a" in await prompt(tmp_path, "rules")
        assert others.is_set()
    with trio.CancelScope() as scope:
        scope.cancel("test")
        await prompt(tmp_path, "rules")
    assert scope.cancelled_caught
