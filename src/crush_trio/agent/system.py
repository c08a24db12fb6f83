"""The system prompt: who the agent is, where it works, and what the project says (agent contract 1.5).

Assembled when a workspace's agent is built, and again when it is rebuilt; a turn uses a snapshot.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

import trio

from crush_trio.agent.home import Home
from crush_trio.config import Configuration
from crush_trio.config.defaults import CONTEXT_PATHS
from crush_trio.config.paths import global_config_dir

GIT_LIMIT = 5.0
"""Seconds that all git commands for the prompt may take; what is late is left out."""

MAX_CONTEXT_BYTES = 512 * 2**10
"""A context file larger than this is no instruction; it is skipped."""


class SystemPrompt:
    """The system prompt, assembled at its first use and then kept.

    Two turns that need it at the same moment may both assemble it; the text is the same.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._text: str | None = None

    async def get(self, config: Configuration) -> str:
        """Return it, made of a configuration if it has not been made yet."""
        if self._text is None:
            options = config.wire.given_options
            self._text = await system_prompt(
                self._home.directory,
                env=config.env,
                context_paths=options.context_paths,
                global_context_paths=options.global_context_paths or None,
                skills=self._home.skills,
                now=datetime.fromtimestamp(self._home.now(), UTC).astimezone(),
            )
        else:
            await trio.lowlevel.checkpoint()
        return self._text


@cache
def template(name: str) -> str:
    """Return one of the prompt texts that ship with this package."""
    return (files("crush_trio.agent") / "prompts" / f"{name}.md").read_text(encoding="utf-8")


async def system_prompt(
    directory: Path,
    *,
    env: Mapping[str, str],
    context_paths: Sequence[str] = (),
    global_context_paths: Sequence[str] | None = None,
    skills: str = "",
    now: datetime,
) -> str:
    """Return the prompt for the agent of a directory. Awaits git, for at most :data:`GIT_LIMIT`."""
    is_repository = (directory / ".git").exists()
    sections = [
        template("coder"),
        _environment(directory, now, is_repository=is_repository),
    ]
    if is_repository:
        sections.append(await _git_status(directory, env))
    project = await _read_context(directory, sorted({*CONTEXT_PATHS, *context_paths}), env)
    if global_context_paths is None:
        config = global_config_dir(env)
        global_context_paths = (str(config / "CRUSH.md"), str(config.parent / "AGENTS.md"))
    user = await _read_context(directory, global_context_paths, env)
    sections.append(skills)
    sections.append(_section("project_context", project))
    sections.append(_section("user_preferences", user))
    return "\n\n".join(section for section in sections if section)


def _environment(directory: Path, now: datetime, *, is_repository: bool) -> str:
    date = f"{now.month}/{now.day}/{now.year}"
    return (
        "<env>\n"
        f"Working directory: {directory.as_posix()}\n"
        f"Is directory a git repo: {'yes' if is_repository else 'no'}\n"
        f"Platform: {sys.platform}\n"
        f"Today's date: {date}\n"
        "</env>"
    )


async def _git_status(directory: Path, env: Mapping[str, str]) -> str:
    """Return branch, status and last commits; what git does not tell is left out."""
    lines: list[str] = []
    with trio.move_on_after(GIT_LIMIT):
        if branch := await _git(directory, env, "branch", "--show-current"):
            lines.append(f"Current branch: {branch}")
        status = await _git(directory, env, "status", "--short")
        if status is not None:
            shown = "\n".join(status.splitlines()[:20])
            lines.append(f"Status:\n{shown}" if shown else "Status: clean")
        if commits := await _git(directory, env, "log", "--oneline", "-n", "3"):
            lines.append(f"Recent commits:\n{commits}")
    return "\n".join(lines)


async def _git(directory: Path, env: Mapping[str, str], *arguments: str) -> str | None:
    try:
        done = await trio.run_process(
            ["git", *arguments],
            cwd=directory,
            env={**env, "GIT_OPTIONAL_LOCKS": "0"},
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
            stdin=b"",
            check=False,
        )
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace").rstrip() if done.returncode == 0 else None


async def _read_context(
    directory: Path, paths: Iterable[str], env: Mapping[str, str]
) -> list[tuple[Path, str]]:
    """Return the files of ``paths``; a directory, which may be a whole tree, is read in a thread."""
    places = [_resolve(directory, path, env) for path in paths]
    if any(place.is_dir() for place in places):
        # Nothing that only reads is waited for after a cancel.
        return await trio.to_thread.run_sync(_collect, places, abandon_on_cancel=True)
    return _collect(places)


def _collect(places: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return the readable files of ``places``, each real file once, in sorted order."""
    seen: set[tuple[int, int]] = set()
    found: list[tuple[Path, str]] = []
    for place in places:
        for file in _files_of(place):
            try:
                info = file.stat()
                if (info.st_dev, info.st_ino) in seen or info.st_size > MAX_CONTEXT_BYTES:
                    continue
                seen.add((info.st_dev, info.st_ino))
                found.append((file, file.read_text(encoding="utf-8", errors="replace")))
            except OSError:
                continue
    return found


def _resolve(directory: Path, path: str, env: Mapping[str, str]) -> Path:
    if path.startswith("~"):
        path = env.get("HOME", "~") + path[1:]
    elif path.startswith("$"):
        name, _, rest = path[1:].partition("/")
        path = f"{env.get(name.strip('{}'), '')}/{rest}"
    return directory / path


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []


def _section(tag: str, found: Sequence[tuple[Path, str]]) -> str:
    if not found:
        return ""
    blocks = "\n".join(f'<file path="{path}">\n{text}\n</file>' for path, text in found)
    return f"<{tag}>\n{blocks}\n</{tag}>"
