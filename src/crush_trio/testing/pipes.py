"""One direction of a simulated connection: bounded, in Trio's time, and as bad as it is told to be.

Every method but :meth:`Pipe.send` and :meth:`Pipe.receive` is sync and may be called from anywhere
inside a Trio run, an instrument included: that is how a connection breaks between two steps of
those who use it. Nothing here is random, and nothing depends on the real time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import attrs
import trio

CAPACITY = 64 * 2**10
"""Bytes that may be on their way in one direction: about what a socket's buffers hold."""

TICK = 0.1
"""Seconds between two pieces that a slow reader takes."""

_READ = 64 * 2**10
"""Bytes of one read whose caller names no limit."""


@attrs.define(eq=False)
class Pipe:
    """Bytes on their way from a writer to a reader.

    Attributes:
        capacity: Bytes that may be on their way; a writer waits for room.
        latency: Seconds until what is sent arrives.
        rate: Bytes a second that the reader takes.
        appetite: Bytes that the reader takes in all; then it reads nothing more.
        sent: Bytes that have been sent so far.
        taken: Bytes that have been read so far.
        ended: The writer has said that nothing more comes.
        broken: The connection is lost: nothing more can be sent, and what has arrived is the rest.
    """

    note: Callable[[bytes], None] = lambda _: None
    capacity: int = CAPACITY
    latency: float = 0.0
    rate: float = math.inf
    appetite: float = math.inf
    sent: int = attrs.field(default=0, init=False)
    taken: int = attrs.field(default=0, init=False)
    ended: bool = attrs.field(default=False, init=False)
    broken: bool = attrs.field(default=False, init=False)
    _writer_left: bool = attrs.field(default=False, init=False)
    _reader_left: bool = attrs.field(default=False, init=False)
    _on_way: deque[tuple[float, bytes]] = attrs.field(
        factory=deque[tuple[float, bytes]], init=False
    )
    _end_arrives: float = attrs.field(default=-math.inf, init=False)
    _next_take: float = attrs.field(default=-math.inf, init=False)
    _marks: list[tuple[int, Callable[[], None]]] = attrs.field(
        factory=list[tuple[int, Callable[[], None]]], init=False
    )
    _changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    # --- what happens to it: sync, from anywhere --------------------------------------------

    @property
    def held(self) -> int:
        """Bytes that are on their way or wait to be read."""
        return self.sent - self.taken

    def at(self, count: int, happens: Callable[[], None]) -> None:
        """Let something happen once ``count`` more bytes have been sent; a piece is cut there."""
        self._marks.append((self.sent + count, happens))
        self._marks.sort(key=lambda mark: mark[0])

    def end(self) -> None:
        """Let the reader find the end behind what has been sent."""
        if not self.ended:
            self.ended = True
            self._end_arrives = self._arrival()
            self.changed()

    def lose(self, *, keep: bool = False) -> None:
        """Break it. What has not arrived yet is lost, unless it is kept."""
        while not keep and self._on_way and self._on_way[-1][0] > trio.current_time():
            self.sent -= len(self._on_way.pop()[1])
        self.broken = True
        self.changed()

    def leave_writer(self) -> None:
        """The writer closes its end."""
        self._writer_left = True
        self.end()
        self.changed()

    def leave_reader(self) -> None:
        """The reader closes its end."""
        self._reader_left = True
        self.changed()

    def changed(self) -> None:
        """Let everybody who waits look again, after an attribute has been set."""
        self._changed.unpark_all()

    # --- writing ----------------------------------------------------------------------------

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``, as there is room for it.

        Raises:
            trio.BrokenResourceError: the reader has gone, or the connection is lost.
            trio.ClosedResourceError: the writer itself has closed its end.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(data)
        self._check_open()
        while rest:
            rest = rest[self._put(rest) :]
            if rest and self.held >= self.capacity:
                await self._changed.park()
            self._check_open(done=not rest)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_room(self) -> None:
        """Wait until something can be sent.

        Raises:
            trio.BrokenResourceError: as for :meth:`send`.
            trio.ClosedResourceError: as for :meth:`send`.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        while self.held >= self.capacity:
            await self._changed.park()
            self._check_open()

    def _check_open(self, *, done: bool = False) -> None:
        if self._writer_left and not done:
            raise trio.ClosedResourceError("this end has been closed")
        if not done and (self.broken or self.ended or self._reader_left):
            raise trio.BrokenResourceError("the connection is lost")

    def _put(self, data: memoryview) -> int:
        """Send what there is room for and return how much, up to the next mark."""
        self._reach()
        if self.broken or self.ended:
            return 0
        count = min(len(data), max(0, self.capacity - self.held))
        if self._marks:
            count = min(count, self._marks[0][0] - self.sent)
        if count:
            piece = bytes(data[:count])
            self.note(piece)
            self.sent += count
            self._on_way.append((self._arrival(), piece))
            self.changed()
            self._reach()
        return count

    def _arrival(self) -> float:
        """Return when what is sent now arrives: never before what was sent earlier."""
        soonest = self._on_way[-1][0] if self._on_way else -math.inf
        return max(soonest, trio.current_time() + self.latency)

    def _reach(self) -> None:
        while self._marks and self._marks[0][0] <= self.sent:
            self._marks.pop(0)[1]()

    # --- reading ----------------------------------------------------------------------------

    async def receive(self, limit: int | None) -> bytes:
        """Wait for bytes and return up to ``limit`` of them; none at the end.

        Raises:
            trio.BrokenResourceError: the connection is lost, and all that had arrived is read.
            trio.ClosedResourceError: the reader itself has closed its end.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.readable:
            with trio.CancelScope(deadline=self._wake_at()):
                await self._changed.park()
        if self._reader_left:
            raise trio.ClosedResourceError("this end has been closed")
        data = self._take(_READ if limit is None else limit)
        if not data and self.broken:
            raise trio.BrokenResourceError("the connection is lost")
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    @property
    def readable(self) -> bool:
        """Whether a read returns at once, with bytes, with the end or with an error."""
        if self._reader_left:
            return True
        if self.taken >= self.appetite:
            return False
        if self._on_way or not self.broken:
            return self._wake_at() <= trio.current_time()
        return True

    def _wake_at(self) -> float:
        """Return when there is something to read, if nothing else happens."""
        if self.taken >= self.appetite:
            return math.inf
        if self._on_way:
            return max(self._on_way[0][0], self._next_take)
        return max(self._end_arrives, self._next_take) if self.ended else math.inf

    def _take(self, limit: int) -> bytes:
        """Take what has arrived, as much as a reader of this rate and appetite takes at a time."""
        now = trio.current_time()
        if self.rate < math.inf:
            limit = min(limit, max(1, int(self.rate * TICK)))
        room = int(min(limit, self.appetite - self.taken))
        pieces: list[bytes] = []
        while room and self._on_way and self._on_way[0][0] <= now:
            arrives, piece = self._on_way.popleft()
            if len(piece) > room:
                self._on_way.appendleft((arrives, piece[room:]))
            pieces.append(piece[:room])
            room -= len(pieces[-1])
        data = b"".join(pieces)
        if data:
            self.taken += len(data)
            self._next_take = now + len(data) / self.rate
            self.changed()
        return data
