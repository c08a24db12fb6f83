"""``glob``: find files by name (agent contract 2.10)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import attrs
import msgspec
import trio

from crush_trio.errors import BadRequestError
from crush_trio.tools.arguments import required
from crush_trio.tools.base import Surroundings, ToolAnswer, ToolContext
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.files import absolute, is_directory
from crush_trio.tools.globs import Globs, compile_glob, split_glob
from crush_trio.tools.ignores import Ignores, ignores_for
from crush_trio.tools.ripgrep import FAILED, find_ripgrep, run_ripgrep
from crush_trio.tools.timeouts import bounded

LIMIT = 100
"""Files that are named (agent contract 2.10)."""

CANDIDATES = 2000
"""Files that ripgrep finds before it is stopped (agent contract 2.10)."""

TIMEOUT = 30.0
"""Seconds if nothing else is configured (agent contract 9.3)."""

TRUNCATED = "(Results are truncated. Consider using a more specific path or pattern.)"
"""What follows results that are not all (agent contract 2.10, 2.11)."""

_KEPT = 10_000
"""Files that are remembered before all but the newest are forgotten."""

_SKIPPED = frozenset(
    (
        ".crush",
        "node_modules",
        "vendor",
        "dist",
        "build",
        "target",
        ".git",
        ".idea",
        ".vscode",
        "__pycache__",
        "bin",
        "obj",
        "out",
        "coverage",
        "logs",
        "generated",
        "bower_components",
        "jspm_packages",
    )
)
"""Directories whose files are never named (agent contract 2.10)."""


class GlobParams(msgspec.Struct, frozen=True):
    """Parameters of ``glob``."""

    pattern: Annotated[str, msgspec.Meta(description="Glob of the files to find")]
    path: Annotated[
        str, msgspec.Meta(description="Directory to search in; the workspace if not given")
    ] = ""


class Glob(Builtin[GlobParams]):
    """Finds files by name; never asks."""

    name = "glob"
    params = GlobParams

    async def call(self, params: GlobParams, context: ToolContext) -> ToolAnswer:
        """Answer with absolute paths, one a line."""
        required(pattern=params.pattern)
        around = context.around
        top = absolute(params.path or ".", around.working_dir)
        if not is_directory(top):
            raise BadRequestError(f"path is not a directory, or does not exist: {top}")
        prefix, pattern = split_glob(params.pattern)
        root = _join(top, prefix)
        found: list[str] = []
        if is_directory(root) and pattern:
            wanted = _Wanted(root, pattern, compile_glob(f"/{pattern}"))
            found = await bounded(
                "glob", around.limits.glob, TIMEOUT, lambda: _find(wanted, around)
            )
        truncated = len(found) > LIMIT
        lines = found[:LIMIT] or ["No files found"]
        if truncated:
            lines += ["", TRUNCATED]
        metadata = {"number_of_files": min(len(found), LIMIT), "truncated": truncated}
        return ToolAnswer("\n".join(lines), metadata=metadata)


def _join(top: str, prefix: str) -> str:
    return os.path.normpath(Path(top, prefix))


@attrs.frozen
class _Wanted:
    """What is looked for, and where; ``globs`` is ``pattern``, anchored at the root."""

    root: str
    pattern: str
    globs: Globs

    def shows(self, name: str) -> bool:
        """Whether a file is no hidden one, or hidden ones are asked for."""
        return not name.startswith(".") or self.pattern.rpartition("/")[2].startswith(".")

    def names(self, path: str) -> bool:
        """Whether a file that ripgrep found, relative to the root, is one to name."""
        return self.shows(Path(path).name) and _SKIPPED.isdisjoint(Path(path).parts)


async def _find(wanted: _Wanted, around: Surroundings) -> list[str]:
    """Return the files, the first ones to name first; one more than are named if there are more."""
    program = find_ripgrep(around.env)
    if program is not None:
        found = await _with_ripgrep(program, wanted, around)
        if found is not None:
            return found
    return await _by_walking(wanted, ignores_for(wanted.root, around.env))


async def _with_ripgrep(program: str, wanted: _Wanted, around: Surroundings) -> list[str] | None:
    """Return the files that ripgrep names, the shortest paths first; None if it failed."""
    kept: list[str] = []

    def keep(data: bytearray) -> bool:
        *names, rest = bytes(data).split(b"\0")
        data[:] = rest
        kept.extend(name for name in map(os.fsdecode, names) if wanted.names(name))
        return len(kept) >= CANDIDATES

    output = await run_ripgrep(
        [program, "--files", "--null", "--glob", f"/{wanted.pattern}"],
        working_dir=wanted.root,
        env=around.env,
        enough=keep,
    )
    if output.status >= FAILED and not output.stopped:
        return None
    paths = [str(Path(wanted.root, name)) for name in kept[:CANDIDATES]]
    return sorted(paths, key=lambda path: (len(path), path))[: LIMIT + 1]


async def _by_walking(wanted: _Wanted, ignores: Ignores) -> list[str]:
    """Return the files that a walk finds, the newest first; a checkpoint after every directory."""
    found: list[tuple[int, str]] = []
    waiting = [(wanted.root, ignores)]
    while waiting:
        await trio.lowlevel.checkpoint()
        directory, rules = waiting.pop()
        for entry in _entries(directory, rules, wanted):
            if entry.is_dir(follow_symlinks=False):
                waiting.append((entry.path, rules.below(entry.path)))
            else:
                found.append((-_modified(entry), entry.path))
        if len(found) > _KEPT:
            found = sorted(found)[: LIMIT + 1]
    return [path for _, path in sorted(found)[: LIMIT + 1]]


def _entries(directory: str, rules: Ignores, wanted: _Wanted) -> list[os.DirEntry[str]]:
    """Return the directories to look into and the files that are meant; links are not followed."""
    try:
        with os.scandir(directory) as entries:
            return [entry for entry in entries if _is_meant(entry, rules, wanted)]
    except OSError:  # not ours to read, or gone
        return []


def _is_meant(entry: os.DirEntry[str], rules: Ignores, wanted: _Wanted) -> bool:
    is_dir = entry.is_dir(follow_symlinks=False)
    if rules.hides(entry.path, is_dir=is_dir) or not wanted.shows(entry.name):
        return False
    if is_dir:
        return True
    path = os.path.relpath(entry.path, wanted.root)
    return entry.is_file(follow_symlinks=False) and wanted.globs.matches(path, is_dir=False)


def _modified(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_mtime_ns
    except OSError:  # gone
        return 0
