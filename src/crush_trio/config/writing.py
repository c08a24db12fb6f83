"""Changing a configuration file: under its lock, whole or not at all, unknown keys and all.

The lock is a file beside it, ``<file>.lock``, held with ``flock``: other programs that write the
same file (Crush takes it too) are waited for, and a program that died holds none.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import trio

from crush_trio.config.files import Source, read_document
from crush_trio.errors import ConfigError
from crush_trio.filelock import wait_lock

LOCK_TIMEOUT = 5.0
"""Seconds that another program may hold a file's lock (agent contract 3.9)."""

LOCK_PAUSE = 0.02
"""Seconds between two tries to get a lock."""


async def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the document in a file; a missing file begins as an empty one.

    Waits for the lock. Reading, changing and writing are one step after that.

    Args:
        path: The file. Its directory is made if need be, for its owner alone.
        change: Changes the document; if it raises, nothing is written.

    Raises:
        ConfigError: the file is broken, or cannot be locked or written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with locked(path.with_name(f"{path.name}.lock"), LOCK_TIMEOUT):
            document, text = read_document(Source(path))
            change(document)
            _replace(path, document, text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


@asynccontextmanager
async def locked(lock: Path, limit: float) -> AsyncGenerator[None]:
    """Hold a lock file, which other programs may take, too. Waits for it, ``limit`` seconds at most.

    Raises:
        ConfigError: somebody else holds it all that time, or it cannot be made.
    """
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _open(lock)
    except OSError as error:
        raise ConfigError(f"{lock} cannot be locked: {error.strerror or error}") from error
    try:
        with trio.move_on_after(limit) as patience:
            await wait_lock(descriptor, LOCK_PAUSE)
        if patience.cancelled_caught:
            raise ConfigError(
                f"{lock.with_suffix('')} is being changed by another program: {lock} is locked"
            )
        yield
    finally:
        os.close(descriptor)


def _open(lock: Path) -> int:
    return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _replace(path: Path, document: dict[str, Any], old: str) -> None:
    """Write the document to the disk, then put it in the old one's place."""
    target = path.resolve()  # a link stays a link
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encoded(document, old))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _encoded(document: dict[str, Any], old: str) -> bytes:
    """Return a document as JSON: indented if the file was, else in one line.

    Raises:
        ConfigError: it is nested too deeply to be written.
    """
    lines = old.splitlines()
    try:
        if len(lines) < 2:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            return text.encode()
        indent = next((line[: len(line) - len(line.lstrip())] for line in lines[1:]), "") or "  "
        return (json.dumps(document, ensure_ascii=False, indent=indent) + "\n").encode()
    except RecursionError as error:
        raise ConfigError("the value is nested too deeply") from error


def section(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return an object of a document by its keys, made if it is missing.

    Raises:
        ConfigError: something else is there.
    """
    for index, key in enumerate(keys):
        inner = document.get(key)
        if inner is None:
            inner = document[key] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(keys[: index + 1])} is not an object in the file")
        document = cast("dict[str, Any]", inner)
    return document
