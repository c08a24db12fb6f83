"""The event hub: one compacted log of frames per workspace, and a cursor per stream.

Publishing is sync and never waits for anybody. A reader is a cursor and nothing else: it wakes,
takes what is there in one chunk, and looks again. What a slow reader has not read yet costs
nothing beyond the log, and the log is bounded.

Rules that keep the log honest:

1. Nothing is ever reordered. An id is given once, and ids increase by one. They begin at the wall
   clock, so that an id of an earlier life is too old here and never mistaken (S5).
2. Only a *streaming* update of a message is ever removed before its time, and only when a newer
   update of the same message is appended behind it (S1, S2).
3. A reader whose cursor has fallen off the front is ended, properly, when it reads again (S3).
   One with ids is told so first.
4. The log holds snapshots. What a reader of deltas lacks is worked out when it reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

from crush_trio.observer import SILENT, Observer
from crush_trio.settings import Settings
from crush_trio.wire.events import Event
from crush_trio.wire.numbering import Numbering, mark
from crush_trio.wire.streams import TooOld


@attrs.frozen
class Wish:
    """What a reader asks for who asks for ids; one that asks for nothing has none (wire contract 5.2).

    Attributes:
        after: Begin behind the event with this id; with what comes next if None.
        deltas: Tell what is new in a message, not all of it.
    """

    after: int | None = None
    deltas: bool = False


def first_id(now: float) -> int:
    """Return the first id of a hub that begins at ``now``, in unix seconds: microseconds, or so.

    No hub publishes a thousand events a millisecond for as long as it lives, so ids go on
    increasing over a restart; and they stay below 2**53, which JSON readers have as a bound.
    """
    return max(int(now * 1000) * 1000, 1)


class Hub:
    """A workspace's events, from its opening to its closing.

    Args:
        settings: The bounds of the log and of a chunk.
        first: The id of the first event.
        observer: Hears what is published, and what each reader is given.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        first: int = 1,
        observer: Observer = SILENT,
    ) -> None:
        self.observer = observer
        self._settings = settings or Settings()
        self._log: deque[Event | None] = deque()
        self._first = first
        self._bytes = 0
        self._streaming: dict[str, int] = {}
        self._readers = trio.lowlevel.ParkingLot()
        self._waking = False
        self._chunk: tuple[int, bytes, int] | None = None
        self._subscriptions = 0
        self.closed = False

    def __repr__(self) -> str:
        return (
            f"<Hub {self._first}..{self.last_id} {self._bytes} bytes {self._subscriptions} readers>"
        )

    @property
    def last_id(self) -> int:
        """The id of the newest event; one less than the first one's before there is any."""
        return self._first + len(self._log) - 1

    def publish(self, event: Event) -> None:
        """Append an event for every present and later reader. Not a checkpoint.

        After :meth:`close` this does nothing: whoever closed the hub has published all there was.

        Raises:
            Exception: the event cannot be encoded; the log is as it was.
        """
        if self.closed:
            return
        size = len(event.frame)  # encoded before anything changes: no reader meets what cannot be
        if event.message_id is not None:
            self._supersede(event)
        self._log.append(event)
        self._bytes += size
        self._trim()
        self.observer.published(self, self.last_id, event)
        self._wake_readers()

    def _wake_readers(self) -> None:
        """Wake the readers, but not before whoever is about to run has run. Not a checkpoint.

        The end of a message wakes its turn too, which publishes the end of its run: woken one step
        later, each of the readers sends both in one write.
        """
        if self._readers and not self._waking:
            self._waking = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._unpark_readers)

    def _unpark_readers(self) -> None:
        self._waking = False
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
        self.observer.hub_closed(self)
        self._readers.unpark_all()

    @contextmanager
    def subscribe(
        self,
        initial: Sequence[Event] = (),
        wish: Wish | None = None,
        replays: Callable[[Event], bool] = lambda _: True,
    ) -> Generator[Subscription]:
        """Give a cursor that sees ``initial``, then every event published from now on (S1).

        Args:
            initial: What this reader alone is told first.
            wish: Asks for ids, and perhaps for what was missed or for deltas (S5).
            replays: Whether an event of before is told again; of another one only the id is.
        """
        self._subscriptions += 1
        if wish is None:
            reader = Subscription(self, self.last_id, initial)
        else:
            reader = NumberedSubscription(self, initial, wish, replays)
        try:
            yield reader
        finally:
            self._subscriptions -= 1
            self.observer.detached(reader)

    @property
    def first_id(self) -> int:
        """The id of the oldest event that the log holds."""
        return self._first

    @property
    def chunk_bytes(self) -> int:
        """What one write to a reader may carry."""
        return self._settings.chunk_bytes

    def reaches(self, cursor: int) -> bool:
        """Whether the log has all that came behind the event with the id ``cursor``."""
        return self._first - 1 <= cursor <= self.last_id

    def too_old(self) -> Event:
        """Return what to tell a reader whose place the log does not reach any more."""
        return Event("too_old", "created", TooOld(self._first, self.last_id))

    def numbered_from(self, cursor: int) -> Iterator[tuple[int, Event]]:
        """Yield the events behind ``cursor`` with their ids, for use without a checkpoint."""
        for index in range(cursor + 1 - self._first, len(self._log)):
            if (event := self._log[index]) is not None:
                yield self._first + index, event

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

    def __init__(
        self, hub: Hub, cursor: int, initial: Sequence[Event], wish: Wish | None = None
    ) -> None:
        self._hub = hub
        self._cursor = cursor
        self._initial = list(initial)
        deltas = wish is not None and wish.deltas
        hub.observer.attached(self, hub, cursor, numbered=wish is not None, deltas=deltas)

    async def receive_chunk(self) -> bytes:
        """Wait for events and return the frames of all that are pending, as one bounded chunk.

        Raises:
            trio.EndOfChannel: the hub has closed, or this reader has fallen off the log (S3).
        """
        await self._wait()
        self._check_place()
        if self._initial:
            chunk = b"".join(event.frame for event in self._initial)
            self._initial.clear()
        else:
            chunk, self._cursor = self._hub._chunk_from(self._cursor)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._hub.observer.delivered(self, self._cursor, chunk)
        return chunk or await self.receive_chunk()

    async def receive(self) -> list[Event]:
        """Wait for events and return all that are pending, at least one.

        Raises:
            trio.EndOfChannel: as for :meth:`receive_chunk`.
        """
        await self._wait()
        self._check_place()
        if self._initial:
            found, self._initial = self._initial, []
        else:
            found, self._cursor = self._hub._events_from(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                self._cursor, 2**62
            )
        self._hub.observer.delivered(self, self._cursor, found)
        return found or await self.receive()

    async def _wait(self) -> None:
        """Return once something can be read. Always a checkpoint."""
        hub = self._hub
        if self._initial or self._cursor < hub.last_id:
            await trio.lowlevel.checkpoint()
        while not self._initial and self._cursor == hub.last_id:
            if hub.closed:
                hub.observer.refused(self)
                raise trio.EndOfChannel
            await hub._readers.park()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def _check_place(self) -> None:
        if not self._hub.reaches(self._cursor):
            self._hub.observer.refused(self)
            raise trio.EndOfChannel


class NumberedSubscription(Subscription):
    """The cursor of a reader with ids, who can come back to where it was (S5).

    What it is told first has the id that it stands for, unless events of before follow: a reader
    that loses its connection among those must come back to where it was, and not to here.
    """

    def __init__(
        self, hub: Hub, initial: Sequence[Event], wish: Wish, replays: Callable[[Event], bool]
    ) -> None:
        last, after = hub.last_id, wish.after
        self._resumes = after is not None and hub.reaches(after)
        super().__init__(hub, after if after is not None and self._resumes else last, initial, wish)
        if after is not None and not self._resumes:
            self._initial.append(hub.too_old())
        self._numbering = Numbering(replayed_to=last, replays=replays, deltas=wish.deltas)
        self._ended = False

    async def receive_chunk(self) -> bytes:
        """Wait for events and return the frames of all that are pending, as one bounded chunk.

        Raises:
            trio.EndOfChannel: the hub has closed, or this reader has fallen off the log and has
                been told so (S3).
        """
        if self._ended:
            raise trio.EndOfChannel
        await self._wait()
        if self._initial:
            frames = tuple(event.frame for event in self._initial)
            self._initial.clear()
            chunk = b"".join(frames) if self._resumes else mark(self._cursor, frames)
        elif not self._hub.reaches(self._cursor):
            self._ended = True
            self._hub.observer.refused(self)
            return mark(self._hub.last_id, (self._hub.too_old().frame,))
        else:
            pending = self._hub.numbered_from(self._cursor)
            chunk, self._cursor = self._numbering.take(pending, self._hub.chunk_bytes)
        self._hub.observer.delivered(self, self._cursor, chunk)
        return chunk
