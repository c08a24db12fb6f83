"""Open or join: one host task for each thing that many may want at once.

The first who asks for a key starts a task that opens the thing; everybody waits for that opening.
A thing that is closing is waited out, and then opened anew (W1, W3). The task's stack frame is the
thing's lifetime. Decisions are made without an await between looking and doing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
import trio

from crush_trio.errors import CrushTrioError, StoreError, error_text, sole

logger = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


@attrs.define(eq=False)
class Slot(Generic[K, V]):
    """One key's thing, from the first request for it until it has closed.

    Attributes:
        users: Who holds it; what that means is the opener's business.
        closing: It can no longer be joined.
        value: The open thing, between ``settled`` and ``closing``.
        error: Why it could not be opened.
    """

    key: K
    users: int = 0
    settled: trio.Event = attrs.field(factory=trio.Event)
    closed: trio.Event = attrs.field(factory=trio.Event)
    unused: trio.Event = attrs.field(factory=trio.Event)
    closing: bool = False
    value: V | None = None
    error: BaseException | None = None


class Slots(Generic[K, V]):
    """The slots of one kind of thing.

    Args:
        nursery: Owns the host tasks.
        serve: Is the lifetime of a thing: opens it, sets ``slot.value`` and ``slot.settled``,
            waits, sets ``slot.closing`` in the step in which it decides to close, and closes.
    """

    def __init__(
        self, nursery: trio.Nursery, serve: Callable[[Slot[K, V]], Awaitable[None]]
    ) -> None:
        self._nursery = nursery
        self._serve = serve
        self._slots: dict[K, Slot[K, V]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def all(self) -> list[Slot[K, V]]:
        """Return the slots in the order in which they were asked for."""
        return list(self._slots.values())

    async def wait_not_closing(self, key: K) -> None:
        """Wait while the key's thing is closing; else return at once, without a checkpoint."""
        while (slot := self._slots.get(key)) is not None and slot.closing:
            await slot.closed.wait()

    def find_or_start(self, key: K) -> Slot[K, V]:
        """Return the key's slot, starting its host task if there is none. Not a checkpoint.

        To be called right behind :meth:`wait_not_closing`. Whoever is allowed in only as long as
        something holds looks in between.
        """
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot[K, V](key)
            self._nursery.start_soon(self._host, slot, name=f"host {key}")
        assert not slot.closing
        return slot

    async def _host(self, slot: Slot[K, V]) -> None:
        """Serve a slot; whatever its opening or closing raises stays in it (C3)."""
        try:
            await self._serve(slot)
        except* Exception as errors:
            if slot.settled.is_set():
                logger.exception("%s broke", slot.key)
            slot.error = errors  # told to whoever waits for the opening
        finally:
            slot.closing = True
            slot.value = None
            del self._slots[slot.key]
            slot.settled.set()
            slot.closed.set()


def why_not_open(error: BaseException, what: object) -> CrushTrioError:
    """Return why something could not be opened, as an error of ours."""
    only = sole(error)
    if isinstance(only, CrushTrioError):
        return only
    logger.error("cannot open %s", what, exc_info=error)
    return StoreError(f"cannot open {str(what)!r}: {error_text(only)}")
