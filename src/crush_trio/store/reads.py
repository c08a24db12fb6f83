"""Reading a store: beside the writer, never behind it.

In WAL mode a reader sees the last committed state while a transaction is being written. The twin
reads on the writer's own connection, between two of its transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import trio

from crush_trio.errors import StoreError

T = TypeVar("T")

Query = Callable[[sqlite3.Connection], T]


class Reads(Protocol):
    """A way to run queries."""

    async def read(self, query: Query[T]) -> T:
        """Run a query on committed state. Always a checkpoint.

        Raises:
            StoreError: the database cannot be read.
        """
        ...


class PooledReads:
    """Reads in worker threads, each on a connection of its own for that long.

    A connection that is closed while a thread reads from it takes the whole process with it. So
    whoever closes them must have waited with :meth:`wait_done`: a request that reads is not the
    store's task, and its thread is not ended by a cancel.
    """

    def __init__(self, connections: Sequence[sqlite3.Connection]) -> None:
        self._number = len(connections)
        self._idle = list(connections)
        self._limiter = trio.CapacityLimiter(len(connections))

    async def wait_done(self) -> None:
        """Wait until every read that has been asked for is done. There may be no new ones."""
        for _ in range(self._number):
            await self._limiter.acquire_on_behalf_of(object())

    async def read(self, query: Query[T]) -> T:
        """Run a query in a thread; waits while all connections are in use."""
        return await trio.to_thread.run_sync(self._read, query, limiter=self._limiter)

    def _read(self, query: Query[T]) -> T:
        connection = self._idle.pop()  # the limiter leaves one for each thread
        try:
            return _run(query, connection)
        finally:
            self._idle.append(connection)


class InlineReads:
    """Reads in the Trio thread: the twin of :class:`PooledReads`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def read(self, query: Query[T]) -> T:
        """Run a query after a checkpoint."""
        await trio.lowlevel.checkpoint()
        return _run(query, self._connection)


def _run(query: Query[T], connection: sqlite3.Connection) -> T:
    try:
        return query(connection)
    except sqlite3.Error as error:
        raise StoreError(f"cannot read the database: {error}") from error
