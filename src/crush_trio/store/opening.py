"""Opening and closing a store: the directory, its lock, the database, what a crash left behind."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

import attrs
import trio

from crush_trio import __version__
from crush_trio.errors import DataDirectoryError, StoreError
from crush_trio.store.database import WriteConnection, connect_reader, connect_writer, migrate
from crush_trio.store.lock import lock_directory
from crush_trio.store.reads import InlineReads, PooledReads
from crush_trio.store.recovery import settle_interrupted
from crush_trio.store.store import Store
from crush_trio.store.writer import CLOSE_TIMEOUT, open_task_writer, open_thread_writer
from crush_trio.wire.events import Event

logger = logging.getLogger(__name__)

READERS = 4
"""Connections for reads side by side; each holds up to 8 MB of cache."""

OUR_DOING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
"""Reasons for which a directory cannot be made that whoever named it could not know."""


@asynccontextmanager
async def open_store(
    directory: Path,
    publish: Callable[[Event], None],
    *,
    clock: Callable[[], float] = time.time,
    version: str = __version__,
) -> AsyncGenerator[Store]:
    """Open the store of a data directory; leaving the block writes what was posted and closes it.

    Args:
        directory: The data directory; made, readable by its owner only, where it does not exist.
        publish: Sync; given the event of each committed write, in commit order, in this thread.
        clock: Unix seconds; called in this thread.
        version: What others are told of the lock's holder.

    Raises:
        DataDirectoryInUseError: another server has it open.
        DataDirectoryError: nobody could make a data directory there.
        StoreError: it cannot be made, opened or migrated.
    """
    limiter = trio.CapacityLimiter(1)
    opening = partial(_open_files, directory, version, int(clock()))
    opened = await trio.to_thread.run_sync(opening, limiter=limiter)
    reads = PooledReads(opened.readers)
    try:
        async with open_thread_writer(opened.writing, publish, clock) as writer:
            yield Store(writer, reads)
    finally:
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True) as waiting:
            await reads.wait_done()
            await trio.to_thread.run_sync(opened.resources.close, limiter=limiter)
        if waiting.cancelled_caught:
            logger.error("the store in %s is still being read, and stays open", directory)


@asynccontextmanager
async def open_memory_store(
    publish: Callable[[Event], None], *, clock: Callable[[], float] = time.time
) -> AsyncGenerator[Store]:
    """Open a store without files or threads: the twin of :func:`open_store` in virtual time."""
    writing = connect_writer(":memory:")
    with closing(writing.connection):
        prepare(writing, int(clock()), lambda: False)
        async with open_task_writer(writing, publish, clock) as writer:
            yield Store(writer, InlineReads(writing.connection))


@attrs.frozen
class _Opened:
    """What an open data directory holds; closing the resources gives all of it back."""

    writing: WriteConnection
    readers: list[sqlite3.Connection]
    resources: ExitStack


def _open_files(directory: Path, version: str, now: int) -> _Opened:
    """Do everything that blocks. In a worker thread."""
    directory = directory.absolute()
    path = directory / "crush.db"
    with ExitStack() as resources:
        _make_directory(directory)
        resources.enter_context(lock_directory(directory, version, now))
        try:
            writing = connect_writer(path)
            resources.enter_context(closing(writing.connection))
            prepare(writing, now, _never)
            readers = [
                resources.enter_context(closing(connect_reader(path))) for _ in range(READERS)
            ]
        except sqlite3.Error as error:
            raise StoreError(f"cannot open {path}: {error}") from error
        return _Opened(writing, readers, resources.pop_all())
    raise AssertionError("an exit stack without suppressing members cannot get here")


def _never() -> bool:
    """Wait on for another program, unless whoever opens the store was cancelled."""
    trio.from_thread.check_cancelled()
    return False


def _make_directory(directory: Path) -> None:
    """Make a data directory that version control ignores (wire contract 7.11)."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise _unusable(directory, error) from error


def _unusable(directory: Path, error: OSError) -> DataDirectoryError | StoreError:
    """Return whose doing it is that a directory cannot be made: ours, or who named it (C4)."""
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = "it is, or lies below, something that is not a directory"
    text = f"cannot make the data directory {str(directory)!r}: {reason}"
    return StoreError(text) if error.errno in OUR_DOING else DataDirectoryError(text)


def prepare(writing: WriteConnection, now: int, give_up: Callable[[], bool]) -> None:
    """Bring the schema up to date and settle what a crash left, in one transaction."""
    writing.now = now
    writing.begin(give_up)
    try:
        migrate(writing)
        settle_interrupted(writing)
        writing.execute("COMMIT")
    except BaseException:
        writing.rollback()
        raise
