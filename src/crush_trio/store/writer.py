"""The writer of a store: many jobs in one commit, one wake-up for all who wait.

A thread takes whatever waits, commits it, and hands the batch back to the Trio thread, which
publishes the events in order and then wakes the waiters. Two tasks that woke from the same commit
could not keep that order themselves (architecture, section 5).

The twin is a task that does the same without a thread, so that virtual time may jump.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import trio

from crush_trio.errors import StoreClosedError, StoreError
from crush_trio.store.database import WriteConnection
from crush_trio.store.jobs import Job, Work
from crush_trio.wire.events import Event

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 512
"""Jobs that one transaction carries at most; more only make the first of them wait."""

CLOSE_TIMEOUT = 5.0
"""Seconds after closing in which what was posted before may still be written."""


class Writer:
    """Takes jobs and settles them. Use :func:`open_thread_writer` or :func:`open_task_writer`.

    Attributes:
        foreign_changes: Changes when another program wrote to the database.
        closed: Whether nothing is accepted any more.
    """

    def __init__(
        self,
        publish: Callable[[Event], None],
        clock: Callable[[], float],
        send: Callable[[Job[Any] | None], None],
        foreign_changes: int,
    ) -> None:
        self.foreign_changes = foreign_changes
        self._publish = publish
        self._clock = clock
        self._send = send
        self.closed = False
        self._give_up_at = math.inf

    def __repr__(self) -> str:
        return f"<Writer {'closed' if self.closed else 'open'}>"

    def post(self, work: Work[T]) -> Job[T]:
        """Accept a write. Not a checkpoint.

        Raises:
            StoreClosedError: the store is closed.
        """
        if self.closed:
            raise StoreClosedError
        job = Job(work, int(self._clock()))
        self._send(job)
        return job

    def interpose(
        self, send: Callable[[Job[Any] | None], None]
    ) -> Callable[[Job[Any] | None], None]:
        """Let every job go through ``send`` first; return what it must pass them on to.

        For a disk that is slow on purpose.
        """
        original, self._send = self._send, send
        return original

    def close(self) -> None:
        """Accept nothing more; what was posted is still written. Not a checkpoint."""
        self.closed = True
        self._give_up_at = time.monotonic() + CLOSE_TIMEOUT
        self._send(None)

    def give_up(self) -> bool:
        """Return whether the time after closing is over. Called where the jobs run."""
        return time.monotonic() > self._give_up_at

    def settle(self, batch: Sequence[Job[Any]], foreign_changes: int) -> None:
        """Publish the events of a batch in order, then wake its waiters. Not a checkpoint."""
        self.foreign_changes = foreign_changes
        for job in batch:
            try:
                job.publish(self._publish)
            except Exception:  # a broken reader must not take the writer with it (C3)
                logger.exception("an event of a stored change could not be published")
        for job in batch:
            job.settle()


@asynccontextmanager
async def open_thread_writer(
    writing: WriteConnection, publish: Callable[[Event], None], clock: Callable[[], float]
) -> AsyncGenerator[Writer]:
    """Run a writer in a thread of its own; leaving the block writes what waits, then ends it."""
    jobs: queue.SimpleQueue[Job[Any] | None] = queue.SimpleQueue()
    writer = Writer(publish, clock, jobs.put, writing.foreign_changes)
    token = trio.lowlevel.current_trio_token()

    def drain() -> None:
        ended = False
        while not ended and (job := jobs.get()) is not None:
            batch = [job]
            ended = _fill(batch, jobs.get_nowait)
            commit(writing, batch, writer.give_up)
            token.run_sync_soon(writer.settle, batch, writing.foreign_changes)

    async def run() -> None:
        # Bounded: the thread begins no transaction later than CLOSE_TIMEOUT after closing. Only one
        # that the disk holds up in its midst is waited for, since a thread cannot be broken off.
        with trio.CancelScope(shield=True):
            limiter = trio.CapacityLimiter(1)  # its own: it must start however busy others are
            await trio.to_thread.run_sync(drain, limiter=limiter, thread_name="store writer")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, name="store writer")
        try:
            yield writer
        finally:
            writer.close()


@asynccontextmanager
async def open_task_writer(
    writing: WriteConnection, publish: Callable[[Event], None], clock: Callable[[], float]
) -> AsyncGenerator[Writer]:
    """Run a writer in a task: the twin of :func:`open_thread_writer`."""
    send, receive = trio.open_memory_channel[Job[Any] | None](math.inf)
    writer = Writer(publish, clock, send.send_nowait, writing.foreign_changes)
    grace = trio.CancelScope(shield=True)  # bounded: closing gives it a deadline

    async def run() -> None:
        ended = False
        with grace:
            while not ended and (job := await receive.receive()) is not None:
                batch = [job]
                ended = _fill(batch, receive.receive_nowait)
                commit(writing, batch, writer.give_up)
                writer.settle(batch, writing.foreign_changes)

    with send, receive:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, name="store writer")
            try:
                yield writer
            finally:
                writer.close()
                grace.deadline = trio.current_time() + CLOSE_TIMEOUT


def _fill(batch: list[Job[Any]], take: Callable[[], Job[Any] | None]) -> bool:
    """Add what waits already; return whether the end of all jobs was among it."""
    with suppress(queue.Empty, trio.WouldBlock):
        while len(batch) < BATCH:
            if (job := take()) is None:
                return True
            batch.append(job)
    return False


def commit(
    writing: WriteConnection, batch: Sequence[Job[Any]], give_up: Callable[[], bool]
) -> None:
    """Run a batch of jobs in one transaction. Blocks.

    A job that fails fails alone; a transaction that fails takes all its jobs with it (C2).
    """
    try:
        writing.begin(give_up)
        for job in batch:
            job.run(writing)
        writing.execute("COMMIT")
    except Exception as error:
        logger.exception("%d writes to %s failed", len(batch), writing.name)
        writing.rollback()
        failure = StoreError(f"cannot write to {writing.name}: {error}")
        failure.__cause__ = error
        for job in batch:
            job.fail(failure)
