"""The lock of a data directory: one server at a time (wire contract 7.11).

The file tells who holds the lock; the lock itself is the kernel's and dies with its holder. The
file is never removed: a file that is removed can be locked by two, each in its own copy.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crush_trio.errors import DataDirectoryInUseError, StoreError

SKIP_VARIABLE = "CRUSH_SKIP_DATADIR_LOCK"
"""Set to anything but 0 or false, this opens data directories without their lock."""


@contextmanager
def lock_directory(directory: Path, version: str, now: int) -> Generator[None]:
    """Hold the lock of a data directory. Does not wait for it.

    Args:
        directory: The data directory, which must exist.
        version: The version that is told to others.
        now: Unix seconds that are told to others as the beginning.

    Raises:
        DataDirectoryInUseError: another process, or this one, holds it.
        StoreError: the file cannot be opened or locked.
    """
    if os.environ.get(SKIP_VARIABLE, "").lower() not in {"", "0", "false"}:
        yield
        return
    path = directory / "crush.lock"
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot open the lock file {path}: {error.strerror}") from error
    with file:  # closing it gives the lock back
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise DataDirectoryInUseError(_in_use(directory, file.read())) from error
        except OSError as error:
            raise StoreError(
                f"cannot lock {path}: {error.strerror}; {SKIP_VARIABLE}=1 goes without"
            ) from error
        started = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        owner = {"pid": os.getpid(), "version": version, "started_at": started}
        file.truncate(0)
        file.write(json.dumps(owner))
        file.flush()
        yield


def _in_use(directory: Path, content: str) -> str:
    """Return the text of wire contract R-07."""
    try:
        owner: dict[str, Any] = dict(json.loads(content))
    except (ValueError, TypeError):
        owner = {}
    pid, version, started = (owner.get(key, "?") for key in ("pid", "version", "started_at"))
    return (
        f"data directory already in use by another crush process: {directory}"
        f" (owner pid={pid} version={version} started_at={started})"
    )
