"""Checks on streams: nothing missed or dropped (S1, S2), nobody cut (S3), order (S4) and ids (S5).

A hub's log is kept here a second time, for a shorter while. What readers at the same place are given
is the same object, so that a crowd costs one comparison.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import attrs

from crush_trio.monitor.ledger import Ledger
from crush_trio.observer import ObservedHub
from crush_trio.wire.events import Event

LOG_ENTRIES = 4096
LOG_BYTES = 8 * 2**20
"""What is remembered of a hub's log; a reader that lags further is not checked until it is back."""


@attrs.define(eq=False)
class _Log:
    """What a hub has published lately."""

    hub: ObservedHub
    first: int
    events: deque[Event | None] = attrs.field(factory=deque["Event | None"])
    streaming: dict[str, int] = attrs.field(factory=dict[str, int])
    size: int = 0
    told: tuple[int, int, int, bytes] | None = None

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1

    def add(self, event: Event) -> None:
        if event.message_id is not None:
            older = self.streaming.pop(event.message_id, 0) - self.first
            if older >= 0 and (worthless := self.events[older]) is not None:
                self.events[older] = None
                self.size -= len(worthless.frame)
            if event.streaming:
                self.streaming[event.message_id] = self.last + 1
        self.events.append(event)
        self.size += len(event.frame)
        while len(self.events) > LOG_ENTRIES or (self.size > LOG_BYTES and len(self.events) > 1):
            if (dropped := self.events.popleft()) is not None:
                self.size -= len(dropped.frame)
            self.first += 1

    def between(self, after: int, upto: int) -> Iterator[tuple[int, Event]]:
        """Yield what a reader must be told behind ``after`` up to ``upto``."""
        for number in range(after + 1, min(upto, self.last) + 1):
            if (event := self.events[number - self.first]) is not None:
                yield number, event

    def joined(self, after: int, upto: int) -> bytes:
        """Return the frames of :meth:`between` in one piece."""
        place = (after, upto, self.last)
        if self.told is None or self.told[:3] != place:
            frames = b"".join(event.frame for _, event in self.between(after, upto))
            self.told = (*place, frames)
        return self.told[3]

    def keep(self, chunk: bytes) -> None:
        """Remember what was told, as the object that others will be told too."""
        if self.told is not None:
            self.told = (*self.told[:3], chunk)


@attrs.define(eq=False)
class _Reader:
    log: _Log
    cursor: int
    start: int
    numbered: bool
    deltas: bool
    greeted: bool = False


class StreamChecks:
    """Follows every hub's log and every reader's place in it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._logs: dict[object, _Log] = {}
        self._readers: dict[object, _Reader] = {}

    @property
    def readers(self) -> int:
        """How many readers there are."""
        return len(self._readers)

    def published(self, hub: ObservedHub, number: int, event: Event) -> None:
        """Take note of an event; its id must be the next one."""
        log = self._logs.get(hub)
        if log is None:
            log = self._logs[hub] = _Log(hub, number)
        elif number != log.last + 1:
            self._ledger.violated("S5", f"id {number} was given after {log.last}", event.type)
            log = self._logs[hub] = _Log(hub, number)
        log.add(event)

    def hub_closed(self, hub: ObservedHub) -> None:
        """Forget a hub; its readers read to its end."""
        self._logs.pop(hub, None)

    def attached(
        self, reader: object, hub: ObservedHub, cursor: int, *, numbered: bool, deltas: bool
    ) -> None:
        """Follow a reader from where it begins."""
        log = self._logs.get(hub)
        if log is None:
            log = _Log(hub, cursor + 1)
            if not hub.closed:
                self._logs[hub] = log
        self._readers[reader] = _Reader(log, cursor, log.last, numbered, deltas)

    def detached(self, reader: object) -> None:
        """Forget a reader."""
        self._readers.pop(reader, None)

    def refused(self, reader: object) -> None:
        """Check that a stream is ended only behind the end of the log, or before its beginning."""
        found = self._readers.get(reader)
        if found is None or found.cursor + 1 < found.log.hub.first_id:
            return
        if not found.log.hub.closed:
            self._ledger.violated("S3", "a reader was cut that the log still reaches", found.cursor)
        elif found.cursor < found.log.last:
            text = "a stream ended before its reader was told everything"
            self._ledger.violated("S1", text, found.cursor, found.log.last)

    def delivered(self, reader: object, upto: int, what: bytes | Sequence[Event]) -> None:
        """Check what a reader is told next."""
        found = self._readers.get(reader)
        if found is None:
            return
        after, found.cursor = found.cursor, upto
        if upto <= after or upto > found.log.last:
            self._check_nothing_new(found, after, upto, what)
        elif after + 1 < found.log.first:
            return  # so far behind that we have forgotten what comes next
        elif not isinstance(what, bytes):
            self._compare(found.log, after, upto, what)
        elif found.numbered:
            self._check_numbered(found, after, upto, what)
        elif what is not (expected := found.log.joined(after, upto)):
            if what == expected:
                found.log.keep(what)
            else:
                self._explain(found.log, after, upto, what)

    def _check_nothing_new(
        self, reader: _Reader, after: int, upto: int, what: bytes | Sequence[Event]
    ) -> None:
        """Check a chunk that leaves the reader where it was: its greeting, once."""
        if upto != after:
            text = "a reader was told what is not in the log"
            self._ledger.violated("S4", text, f"from {after} to {upto} of {reader.log.last}")
            reader.cursor = min(upto, reader.log.last)
        elif what and reader.greeted:
            self._ledger.violated("S4", "a reader was told something again", after)
        reader.greeted = True

    # --- what is wrong ------------------------------------------------------------------

    def _compare(self, log: _Log, after: int, upto: int, what: Sequence[Event]) -> None:
        expected = [event for _, event in log.between(after, upto)]
        if len(what) != len(expected) or any(map(_differ, what, expected)):
            self._explain(log, after, upto, b"".join(event.frame for event in what))

    def _explain(self, log: _Log, after: int, upto: int, chunk: bytes) -> None:
        """Say how a chunk differs from what it must be."""
        frames = [frame + b"\n\n" for frame in chunk.split(b"\n\n")[:-1]]
        expected = list(log.between(after, upto))
        missing = [(number, event) for number, event in expected if event.frame not in frames]
        for number, event in missing:
            self._missing(number, event)
        if not missing:
            text = "a reader was told things out of order, or twice"
            self._ledger.violated("S4", text, f"from {after} to {upto}")

    def _missing(self, number: int, event: Event) -> None:
        promise = "S1" if event.streaming else "S2"
        seen = (f"id {number}", event.type, event.change)
        self._ledger.violated(promise, "a reader was not told of an event", *seen)

    def _check_numbered(self, reader: _Reader, after: int, upto: int, chunk: bytes) -> None:
        """Check the ids in a chunk, and of whole states also the frames."""
        pieces = (b"\n" + chunk).split(b"\nid: ")
        expected = list(reader.log.between(after, upto))
        ids = [int(piece[: piece.index(b"\n")]) for piece in pieces[1:]]
        if ids != [number for number, _ in expected]:
            self._explain_ids(after, ids, expected)
        elif not reader.deltas:
            for piece, (number, event) in zip(pieces[1:], expected, strict=True):
                body = piece[piece.index(b"\n") + 1 :]
                is_told = event.frame.startswith(body) and len(body) + 1 >= len(event.frame)
                is_only_counted = number <= reader.start and not body.strip(b"\n")
                if not is_told and not is_only_counted:
                    self._missing(number, event)

    def _explain_ids(self, after: int, ids: list[int], expected: list[tuple[int, Event]]) -> None:
        if any(second <= first for first, second in zip([after, *ids], ids, strict=False)):
            self._ledger.violated("S5", "the ids of a stream do not increase", after, ids[:8])
        told = set(ids)
        for number, event in expected:
            if number not in told:
                self._missing(number, event)
        known = {number for number, _ in expected}
        if extra := [number for number in ids if number not in known]:
            self._ledger.violated("S5", "a stream has ids of no event", extra[:8])


def _differ(one: Event, other: Event) -> bool:
    return one is not other
