"""Files as tools see them: where they are, what was read, what changed (agent contract 2.1, 2.3).

Above it are the tools that read and change files; below it the store, which remembers. What is
small is read in the Trio thread, which is quicker than a change of threads and works in virtual
time; only files above :data:`LARGE` bytes are read in a worker thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import TypeVar

import attrs
import trio

from crush_trio.errors import BadRequestError
from crush_trio.store import Job
from crush_trio.tools.base import ToolContext

LARGE = 2**20
"""Bytes above which work on a file's content goes to a worker thread."""

LARGEST = 4 * 2**20
"""Bytes of a file that tools change. A change costs six times that in events at once (request, versions and
result), and a log that could not hold them would end the streams of all readers (S3)."""

T = TypeVar("T")


def absolute(path: str, working_dir: str) -> str:
    """Return a path that a model gave: relative ones begin in the workspace (agent 2.1)."""
    return path if Path(path).is_absolute() else os.path.normpath(Path(working_dir, path))


def expanded(path: str, working_dir: str, env: Mapping[str, str]) -> str:
    """Return a path in which ``~`` and ``$NAME`` may stand, as in this environment."""
    path = Template(path).safe_substitute(env)
    if path == "~" or path.startswith("~/"):
        path = env.get("HOME", "~") + path[1:]
    return os.path.normpath(absolute(path, working_dir))


def is_inside(path: str, directory: str) -> bool:
    """Whether a path, existing or not, leads into a directory once links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory))


def is_directory(path: str) -> bool:
    """Whether there is a directory."""
    return Path(path).is_dir()


def exists(path: str) -> bool:
    """Whether there is anything."""
    return Path(path).exists()


def look_at(path: str) -> os.stat_result | None:
    """Return what the system knows of a regular file, or None if nothing is there.

    Raises:
        BadRequestError: it is a directory, or something that cannot be read like a file.
    """
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise BadRequestError(f"path is a directory, not a file: {path}")
    if not stat.S_ISREG(found.st_mode):  # opening a pipe would wait for its other end
        raise BadRequestError(f"path is not a regular file: {path}")
    return found


async def work_on(size: int, work: Callable[[], T]) -> T:
    """Do blocking work on so many bytes where it disturbs least; always a checkpoint."""
    if size > LARGE:
        return await trio.to_thread.run_sync(work)
    await trio.lowlevel.checkpoint()
    return work()


@attrs.frozen
class Snapshot:
    """A file as it was when a tool looked.

    Attributes:
        content: Its text; empty for one that does not exist.
        stamp: Tells two states of a file apart; None for one that does not exist.
    """

    path: str
    content: str
    stamp: tuple[int, int, int] | None

    @property
    def exists(self) -> bool:
        """Whether there was a file."""
        return self.stamp is not None


async def take_snapshot(path: str) -> Snapshot:
    """Read a file that a tool is going to change.

    What is not UTF-8 becomes lone surrogates, so that it is written as it was.

    Raises:
        BadRequestError: the path is no file, or it is too large.
    """
    found = look_at(path)
    if found is None:
        await trio.lowlevel.checkpoint()
        return Snapshot(path, "", None)
    if found.st_size > LARGEST:
        raise BadRequestError(
            f"file of {found.st_size} bytes is too large to be changed, "
            f"at most {LARGEST}; use bash: {path}"
        )
    data = await work_on(found.st_size, Path(path).read_bytes)
    return Snapshot(path, data.decode(errors="surrogateescape"), stamp(found))


def stamp(found: os.stat_result) -> tuple[int, int, int]:
    """Return what tells two states of a file apart."""
    return found.st_ino, found.st_size, found.st_mtime_ns


def record_read(context: ToolContext, path: str, found: os.stat_result | None) -> Job[None]:
    """Note that a session knows a file as it was found. Not a checkpoint."""
    modified = int(found.st_mtime) if found else 0
    return context.around.store.record_read(context.session_id, path, modified=modified)


async def check_unmodified(context: ToolContext, path: str) -> None:
    """Check that an existing file is as this session last read it, to the second.

    Raises:
        BadRequestError: it was modified since, or never read.
    """
    last_read = await context.around.store.last_read(context.session_id, path)
    found = look_at(path)
    modified = int(found.st_mtime) if found else 0
    if last_read is None:
        raise BadRequestError(
            f"file {path} has not been read in this session; view it before you change it"
        )
    if modified > last_read:
        raise BadRequestError(
            f"file {path} was modified at {_moment(modified)}, after it was last read at "
            f"{_moment(last_read)}; view it again before you change it"
        )


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
