"""Open or join: one thing for each key, however many ask for it at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.workspaces.slots import Slot, Slots

Serve = Callable[[Slot[str, str]], Awaitable[None]]


@asynccontextmanager
async def open_slots(serve: Serve) -> AsyncGenerator[Slots[str, str]]:
    with trio.fail_after(5):
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            yield Slots[str, str](nursery, serve)
            nursery.cancel_scope.cancel("the test is over")


class House:
    """Things that open and close when a test says so."""

    def __init__(self) -> None:
        self.served = 0
        self.open = trio.Event()
        self.leave = trio.Event()
        self.gone = trio.Event()
        self.error: Exception | None = None

    async def __call__(self, slot: Slot[str, str]) -> None:
        self.served += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        slot.value = f"{slot.key} {self.served}"
        slot.settled.set()
        await self.leave.wait()
        slot.closing = True
        await self.gone.wait()


async def join(slots: Slots[str, str], key: str = "k") -> Slot[str, str]:
    await slots.wait_not_closing(key)
    return slots.find_or_start(key)


@pytest.mark.promise("W1")
async def test_everybody_who_asks_gets_the_same_slot() -> None:
    """Its host task is started once; another key has its own."""
    house = House()
    async with open_slots(house) as slots:
        one, two, other = await join(slots), await join(slots), await join(slots, "other")
        assert one is two is not other
        house.open.set()
        await one.settled.wait()
        assert await join(slots) is one
        assert (house.served, len(slots)) == (2, 2)


@pytest.mark.promise("W3")
async def test_what_is_closing_is_waited_out_and_opened_anew() -> None:
    """Nobody joins a thing that is on its way out."""
    house = House()
    async with open_slots(house) as slots:
        house.open.set()
        old = await join(slots)
        await old.settled.wait()
        house.leave.set()
        await wait_all_tasks_blocked()
        assert old.closing
        found: list[Slot[str, str]] = []

        async def come() -> None:
            found.append(await join(slots))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(come)
            await wait_all_tasks_blocked()
            assert not found
            house.gone.set()
        assert len(set(map(id, found))) == 1
        assert found[0] is not old
        assert old.closed.is_set()
        await found[0].settled.wait()
        assert house.served == 2


@pytest.mark.promise("W1", "C3")
async def test_a_failure_to_open_is_told_to_all_who_wait_and_tried_again_later() -> None:
    """The error stays in its slot; the next one starts afresh."""
    house = House()
    async with open_slots(house) as slots:
        one, two = await join(slots), await join(slots)
        house.error = RuntimeError("broken")
        house.open.set()
        await one.settled.wait()
        assert one is two
        assert isinstance(one.error, ExceptionGroup)
        assert (one.closing, one.value, len(slots)) == (True, None, 0)
        house.error = None
        again = await join(slots)
        await again.settled.wait()
        assert (again.error, again.value) == (None, "k 2")


@pytest.mark.promise("C3")
async def test_a_thing_that_breaks_is_logged_and_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for it any more, so the log is where its error goes."""

    async def serve(slot: Slot[str, str]) -> None:
        slot.value = "open"
        slot.settled.set()
        await wait_all_tasks_blocked()
        raise RuntimeError("broken")

    async with open_slots(serve) as slots:
        slot = await join(slots)
        await slot.closed.wait()
        assert len(slots) == 0
        assert "k broke" in caplog.text


@pytest.mark.promise("W5")
async def test_a_host_task_that_is_cancelled_leaves_no_slot() -> None:
    """Whoever waits is woken."""
    house = House()
    async with open_slots(house) as slots:
        slot = await join(slots)
        slots._nursery.cancel_scope.cancel("torn down")
        with trio.CancelScope(shield=True):
            await slot.closed.wait()
        assert len(slots) == 0
        assert slot.settled.is_set()
