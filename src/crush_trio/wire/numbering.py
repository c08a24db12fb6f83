"""The bytes of a stream with ids: what one reader is sent of numbered events (S5). Pure.

An ``id:`` line stands before the last frame of its event, so a reader that lost its connection
in the middle of one gets all of it again. An id that is absent is always that of a streaming
update which a newer one, that the reader gets too, has made worthless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from crush_trio.wire.deltas import DeltaView
from crush_trio.wire.events import Event


class Numbering:
    """What one reader with ids has been sent.

    Args:
        replayed_to: The newest event from before the reader came.
        replays: Whether such an event is told again; of another one only the id is.
        deltas: Whether the reader wants what is new in a message, not all of it.
    """

    def __init__(self, *, replayed_to: int, replays: Callable[[Event], bool], deltas: bool) -> None:
        self._replayed_to = replayed_to
        self._replays = replays
        self._view = DeltaView() if deltas else None

    def __repr__(self) -> str:
        return f"<Numbering {self._view or 'snapshots'}>"

    def take(self, events: Iterator[tuple[int, Event]], limit: int) -> tuple[bytes, int]:
        """Return the frames of events up to ``limit`` bytes, of one event at least, and the last id."""
        pieces: list[bytes] = []
        size, end = 0, 0
        for number, event in events:
            told = mark(number, self._frames(number, event))
            size += len(told)
            if pieces and size > limit:
                break
            if self._view is not None:
                self._view.sent(event)
            pieces.append(told)
            end = number
        return b"".join(pieces), end

    def _frames(self, number: int, event: Event) -> tuple[bytes, ...]:
        if number <= self._replayed_to and not self._replays(event):
            return (b"\n",)
        return (event.frame,) if self._view is None else self._view.frames(event)


def mark(number: int, frames: tuple[bytes, ...]) -> bytes:
    """Return the frames of one event as they are sent, with its id."""
    return b"".join([*frames[:-1], b"id: %d\n" % number, frames[-1]])
