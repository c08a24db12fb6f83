"""The event hub: one compacted log of frames per workspace, and a cursor per stream.

Publishing is sync and never waits for anybody. A reader is a cursor and nothing else: it wakes,
takes what is there in one chunk, and looks again. What a slow reader has not read yet costs
nothing beyond the log, and the log is bounded.

Rules that keep the log honest:

1. Nothing is ever reordered. An id is given once, and ids increase by one.
2. Only a *streaming* update of a message is ever removed before its time, and only when a newer
   update of the same message is appended behind it (S1, S2).
3. A reader whose cursor has fallen off the front is ended, properly, when it reads again (S3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import trio

from crush_trio.settings import Settings
from crush_trio.wire.events import Event


class Hub:
    """A workspace's events, from its opening to its closing."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._log: deque[Event | None] = deque()
        self._first = 1
        self._bytes = 0
        self._streaming: dict[str, int] = {}
        self._readers = trio.lowlevel.ParkingLot()
        self._chunk: tuple[int, bytes, int] | None = None
        self._subscriptions = 0
        self.closed = False

    def __repr__(self) -> str:
        return (
            f"<Hub {self._first}..{self.last_id} {self._bytes} bytes {self._subscriptions} readers>"
        )

    @property
    def last_id(self) -> int:
        """The id of the newest event; 0 before the first one."""
        return self._first + len(self._log) - 1

    def publish(self, event: Event) -> None:
        """Append an event for every present and later reader. Not a checkpoint.

        After :meth:`close` this does nothing: whoever closed the hub has published all there was.
        """
        if self.closed:
            return
        if event.message_id is not None:
            self._supersede(event)
        self._log.append(event)
        self._bytes += len(event.frame)
        self._trim()
        self._readers.unpark_all()

    def _supersede(self, event: Event) -> None:
        """Remove the streaming update that this one makes worthless (rule 2)."""
        assert event.message_id is not None
        older = self._streaming.pop(event.message_id, 0) - self._first
        if older >= 0 and (worthless := self._log[older]) is not None:
            self._log[older] = None
            self._bytes -= len(worthless.frame)
        if event.streaming:
            self._streaming[event.message_id] = self.last_id + 1

    def _trim(self) -> None:
        limits = self._settings
        while len(self._log) > limits.log_entries or (
            self._bytes > limits.log_bytes and len(self._log) > 1
        ):
            if (dropped := self._log.popleft()) is not None:
                self._bytes -= len(dropped.frame)
            self._first += 1

    def close(self) -> None:
        """End every subscription after what it has not read yet. Not a checkpoint."""
        self.closed = True
        self._readers.unpark_all()

    @contextmanager
    def subscribe(self, initial: Sequence[Event] = ()) -> Generator[Subscription]:
        """Give a cursor that sees ``initial``, then every event published from now on (S1)."""
        self._subscriptions += 1
        try:
            yield Subscription(self, self.last_id, initial)
        finally:
            self._subscriptions -= 1

    def _events_from(self, cursor: int, limit: int) -> tuple[list[Event], int]:
        """Return the events behind ``cursor`` up to ``limit`` bytes (at least one), and the new cursor."""
        found: list[Event] = []
        size = 0
        for index in range(cursor + 1 - self._first, len(self._log)):
            event = self._log[index]
            if event is not None:
                size += len(event.frame)
                if found and size > limit:
                    break
                found.append(event)
            cursor = self._first + index
        return found, cursor

    def _chunk_from(self, cursor: int) -> tuple[bytes, int]:
        """Return one joined write for a cursor; readers at the same place share its bytes."""
        if self._chunk is None or self._chunk[0] != cursor or self._chunk[2] != self.last_id:
            found, end = self._events_from(cursor, self._settings.chunk_bytes)
            if end != self.last_id or not found:
                return b"".join(event.frame for event in found), end
            self._chunk = (cursor, b"".join(event.frame for event in found), end)
        return self._chunk[1], self._chunk[2]


class Subscription:
    """One reader's cursor in a hub's log. Use :meth:`Hub.subscribe`."""

    def __init__(self, hub: Hub, cursor: int, initial: Sequence[Event]) -> None:
        self._hub = hub
        self._cursor = cursor
        self._initial = list(initial)

    async def receive_chunk(self) -> bytes:
        """Wait for events and return the frames of all that are pending, as one bounded chunk.

        Raises:
            trio.EndOfChannel: the hub has closed, or this reader has fallen off the log (S3).
        """
        await self._wait()
        if self._initial:
            chunk = b"".join(event.frame for event in self._initial)
            self._initial.clear()
            return chunk
        chunk, self._cursor = self._hub._chunk_from(self._cursor)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return chunk or await self.receive_chunk()

    async def receive(self) -> list[Event]:
        """Wait for events and return all that are pending, at least one.

        Raises:
            trio.EndOfChannel: as for :meth:`receive_chunk`.
        """
        await self._wait()
        if self._initial:
            found, self._initial = self._initial, []
            return found
        found, self._cursor = self._hub._events_from(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            self._cursor, 2**62
        )
        return found or await self.receive()

    async def _wait(self) -> None:
        """Return once something can be read. Always a checkpoint."""
        hub = self._hub
        if self._initial or self._cursor < hub.last_id:
            await trio.lowlevel.checkpoint()
        while not self._initial and self._cursor == hub.last_id:
            if hub.closed:
                raise trio.EndOfChannel
            await hub._readers.park()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if self._cursor + 1 < hub._first:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            raise trio.EndOfChannel
