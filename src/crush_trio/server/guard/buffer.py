"""What an HTTP/2 stream still has to send."""

from __future__ import annotations

import trio
from hypercorn.protocol.h2 import (
    BUFFER_HIGH_WATER,
    BUFFER_LOW_WATER,
    BufferCompleteError,
    StreamBuffer,
)
from hypercorn.typing import Event

from crush_trio.server.guard.deadlines import SendDeadlines


class StalledReaderError(Exception):
    """The peer has taken nothing for as long as a write may wait."""


class SendBuffer(StreamBuffer):
    """Bytes between an application and its stream's share of the connection.

    Hypercorn's lets its producer go on whenever the sender looks, even if the peer took nothing,
    and so keeps all of an endless stream in memory; and it never gives up.
    """

    buffer: bytearray

    def __init__(self, event_class: type[Event], deadlines: SendDeadlines) -> None:
        super().__init__(event_class)
        self.patient = False
        self._deadlines = deadlines
        self._changed = trio.lowlevel.ParkingLot()
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the application has said all that it will."""
        return self._complete

    async def push(self, data: bytes) -> None:
        """Add bytes; wait while there are too many.

        Raises:
            BufferCompleteError: the stream is over.
            StalledReaderError: the peer takes nothing.
        """
        if self._complete:
            raise BufferCompleteError
        self.buffer += data
        if len(self.buffer) >= BUFFER_HIGH_WATER:
            while len(self.buffer) >= BUFFER_LOW_WATER and not self._closed:
                await self._wait()

    async def drain(self) -> None:
        """Wait until the end of the stream has been sent, or the stream is over.

        Raises:
            StalledReaderError: the peer takes nothing.
        """
        while not self._closed:
            await self._wait()

    async def pop(self, max_length: int) -> bytes:
        """Take up to ``max_length`` bytes. Not a checkpoint."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if data:
            self._changed.unpark_all()
        return data

    async def close(self) -> None:
        """Let everybody go on. Not a checkpoint."""
        self._complete = self._closed = True
        self.buffer.clear()
        self._changed.unpark_all()

    async def _wait(self) -> None:
        """Wait until the peer has taken something: each time the deadline starts anew."""
        with self._deadlines.bound(patient=self.patient) as scope:
            await self._changed.park()
        if scope.cancelled_caught:
            raise StalledReaderError
