"""One accepted write: its work, its event and whoever waits for it.

A job is posted in the Trio thread, run wherever the writer runs, and settled in the Trio thread
again. Nobody holds it in two places at once, so it needs no lock.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio

from crush_trio.errors import CrushTrioError, StoreError
from crush_trio.store.database import WriteConnection
from crush_trio.wire.events import Event

logger = logging.getLogger(__name__)

T = TypeVar("T")

Work = Callable[[WriteConnection], tuple[T, Event | None]]
"""What a job does inside a transaction: it returns its value and the event that reports it."""


class Job(Generic[T]):
    """One accepted write.

    Jobs commit in the order in which they were posted. Each one's event is published in that
    order, before anybody who waits for a job of the same commit is woken.

    Attributes:
        done: Whether the write has settled, well or badly.
    """

    __slots__ = (
        "_before_event",
        "_error",
        "_event",
        "_finished",
        "_posted_at",
        "_value",
        "_work",
        "done",
    )

    def __init__(self, work: Work[T], posted_at: int) -> None:
        self.done = False
        self._work: Work[T] | None = work
        self._posted_at = posted_at
        self._finished: trio.Event | None = None
        self._event: Event | None = None
        self._before_event: Callable[[], None] | None = None
        self._error: CrushTrioError | None = None
        self._value: Any = None

    def __repr__(self) -> str:
        state = f"failed: {self._error}" if self._error else "done" if self.done else "waiting"
        return f"<Job {state}>"

    async def wait(self) -> T:
        """Wait until the write is committed and its event published; return its value.

        Always a checkpoint. A cancelled wait neither undoes the write nor loses its event.

        Raises:
            StoreError: the write failed; nothing of it is stored or published (C2).
            UnknownSessionError: the write was for a session that does not exist.
        """
        if self.done:
            await trio.lowlevel.checkpoint()
        else:
            if self._finished is None:
                self._finished = trio.Event()
            await self._finished.wait()
        return self.result()

    def result(self) -> T:
        """Return the value of a write that has settled. Not a checkpoint.

        When a write has settled, so have all that were posted before it.

        Raises:
            StoreError: as for :meth:`wait`.
            UnknownSessionError: as for :meth:`wait`.
        """
        assert self.done
        if self._error is not None:
            raise self._error
        return self._value

    @property
    def failed(self) -> bool:
        """Whether the write has settled and is not stored."""
        return self.done and self._error is not None

    def before_event(self, callback: Callable[[], None]) -> None:
        """Let ``callback`` be called, sync, between the commit and its event. Not a checkpoint.

        To be told in the step in which the write is posted. Not called for a write that fails.
        """
        assert not self.done
        self._before_event = callback

    # --- for the writer, where it runs ------------------------------------------

    def run(self, writing: WriteConnection) -> None:
        """Do the work inside the open transaction; a failure undoes this job alone.

        Raises:
            Exception: whatever made SQLite give up the whole transaction.
        """
        assert self._work is not None
        writing.now = self._posted_at
        writing.execute("SAVEPOINT job")
        try:
            self._value, self._event = self._work(writing)
            if self._event is not None:
                _ = self._event.frame  # encoded here: what cannot be told must not be stored
        except Exception as error:
            if not writing.connection.in_transaction:
                raise
            writing.execute("ROLLBACK TO job")
            self.fail(_explain(error, writing))
        writing.execute("RELEASE job")

    def fail(self, error: CrushTrioError) -> None:
        """Let the write count as failed, and its event as never made. The first error stays."""
        self._error = self._error or error
        self._event = None

    # --- for the writer, in the Trio thread ---------------------------------------

    def publish(self, publish: Callable[[Event], None]) -> None:
        """Hand over the event of a write that was committed. Not a checkpoint."""
        if self._error is None and self._before_event is not None:
            self._before_event()
        if self._event is not None:
            publish(self._event)

    def settle(self) -> None:
        """Wake whoever waits. Not a checkpoint."""
        self.done = True
        self._work = None  # a finished job keeps no message alive
        self._event = None
        self._before_event = None
        if self._finished is not None:
            self._finished.set()


def _explain(error: Exception, writing: WriteConnection) -> CrushTrioError:
    """Return the error that a waiter is told."""
    if isinstance(error, CrushTrioError):
        return error
    if not isinstance(error, sqlite3.Error):
        logger.error("a write could not be carried out", exc_info=error)
    explained = StoreError(f"cannot write to {writing.name}: {error}")
    explained.__cause__ = error
    return explained
