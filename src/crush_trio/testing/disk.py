"""The disks of a simulated world: stores in memory that survive a restart, and that can fail.

The real store's code runs on them, without a thread. A disk's *image* is what a database file
would hold; a crash keeps what was committed at that step and forgets what came later.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from crush_trio.store import Job, Store
from crush_trio.store.database import WriteConnection, connect_writer
from crush_trio.store.opening import prepare
from crush_trio.store.reads import InlineReads
from crush_trio.store.writer import open_task_writer
from crush_trio.testing.running import virtual_now
from crush_trio.wire.events import Event

FULL = "database or disk is full"
"""What SQLite says of a write that fails."""


@attrs.define(eq=False)
class Disk:
    """What the store of one data directory writes to.

    Attributes:
        failing: Commits that fail from now on; infinite for a full disk.
        failed: Commits that have failed.
        stuck: What is posted waits until :meth:`let_go`, as behind another program's lock.
        image: What the file holds while no store is open on it; None if there is no file.
    """

    failing: float = 0
    failed: int = 0
    stuck: bool = False
    image: bytes | None = None
    _connection: sqlite3.Connection | None = None
    _send: Callable[[Job[Any] | None], None] = lambda _: None
    _waiting: list[Job[Any] | None] = attrs.field(factory=list["Job[Any] | None"])

    @property
    def open(self) -> bool:
        """Whether a store is open on it."""
        return self._connection is not None

    def let_go(self) -> None:
        """Write what has waited, and everything from now on. Not a checkpoint."""
        self.stuck = False
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            self._send(job)

    def crash(self) -> None:
        """Keep what is committed now; what the open store still writes is lost. Not a checkpoint."""
        if self._connection is not None:
            self.image = self._connection.serialize()
            self._connection = None
        self.failing = 0
        self.let_go()

    def read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds in what is committed. Not a checkpoint."""
        if self._connection is not None:
            return self._connection.execute(query, values).fetchall()
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(self.image or _blank())
            return connection.execute(query, values).fetchall()

    @asynccontextmanager
    async def open_store(self, publish: Callable[[Event], None]) -> AsyncGenerator[Store]:
        """Open a store on this disk; leaving the block closes it, and the image is what it wrote."""
        plain = connect_writer(":memory:").connection
        with closing(plain):
            plain.deserialize(self.image or _blank())
            writing = _Faulty(plain, "the simulated disk", disk=self)
            prepare(writing, int(virtual_now()), lambda: False)
            self._connection = plain
            try:
                async with open_task_writer(writing, publish, virtual_now) as writer:
                    self._send = writer.interpose(self._pass)
                    yield Store(writer, InlineReads(plain))
            finally:
                if self._connection is plain:  # else it has crashed
                    self.image, self._connection = plain.serialize(), None

    def _pass(self, job: Job[Any] | None) -> None:
        if self.stuck:
            self._waiting.append(job)
        else:
            self._send(job)

    def check(self) -> None:
        """Fail, if this commit is one that shall.

        Raises:
            sqlite3.OperationalError: as SQLite would.
        """
        if self.failing > 0:
            self.failing -= 1
            self.failed += 1
            raise sqlite3.OperationalError(FULL)


@attrs.define(eq=False)
class _Faulty(WriteConnection):
    disk: Disk = attrs.field(factory=Disk)

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        if sql == "COMMIT":
            self.disk.check()
        return super().execute(sql, values)


@cache
def _blank() -> bytes:
    """Return the image of a new database: opening one is what costs most."""
    writing = connect_writer(":memory:")
    with closing(writing.connection):
        prepare(writing, 0, lambda: False)
        return writing.connection.serialize()


@attrs.define(eq=False)
class Disks:
    """The disks of a world, one for each data directory."""

    by_path: dict[Path, Disk] = attrs.field(factory=dict[Path, Disk])

    def at(self, path: Path) -> Disk:
        """Return the disk of a data directory."""
        return self.by_path.setdefault(path, Disk())

    def all(self) -> list[Disk]:
        """Return the disks in the order of their first use."""
        return list(self.by_path.values())

    @asynccontextmanager
    async def open_store(
        self, directory: Path, publish: Callable[[Event], None]
    ) -> AsyncGenerator[Store]:
        """Open the store of a data directory; stands where ``store.open_store`` stands."""
        async with self.at(directory).open_store(publish) as store:
            yield store
