"""What the monitor costs: the same hub and lane with it and without.

    python bench/monitor_cost.py

A figure is CPU time of this process, the best of several rounds; ``with`` less ``without`` is what
``serve --monitor`` takes more. Nothing else is running: no HTTP, no disk, no model.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio
import trio.testing

from crush_trio.hub import Hub, Wish
from crush_trio.ids import MessageID, RunID, SessionID
from crush_trio.messages import Finish, FinishPart, Message, Prompt, Text, TextPart
from crush_trio.monitor import Monitor
from crush_trio.observer import SILENT, Observer
from crush_trio.runs import Lane, Results, Run
from crush_trio.settings import Settings
from crush_trio.wire.events import Event, message_event

SETTINGS = Settings()
ROUNDS = 7


def message(number: int, text: str = "", *, finished: bool = False) -> Message:
    finish = (FinishPart(Finish("end_turn", 1)),) if finished else ()
    parts = (TextPart(Text(text)), *finish)
    return Message(MessageID(f"m{number}"), SessionID("s"), "assistant", parts)


async def publish(observer: Observer, *, events: int, readers: int, wish: Wish | None) -> int:
    """Publish and let every reader read, in batches of ten as under load; return the events."""
    hub = Hub(SETTINGS, observer=observer)

    async def read() -> None:
        with hub.subscribe(wish=wish) as subscription:
            while True:
                await subscription.receive_chunk()

    async with trio.open_nursery() as nursery:
        for _ in range(readers):
            nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(events // 10):
            hub.publish(message_event("created", message(number)))
            for size in range(8):
                text = "word " * 20 * size
                hub.publish(message_event("updated", message(number, text), streaming=True))
            hub.publish(message_event("updated", message(number, "x", finished=True)))
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel("measured")
    return events


@attrs.define(eq=False)
class Owner:
    nursery: trio.Nursery

    def run_accepted(self, run: Run) -> None:
        pass

    def run_settled(self, run: Run) -> None:
        pass


class EmptyTurn:
    async def play(self, run: Run) -> None:  # noqa: ARG002  the seam has it
        await trio.lowlevel.checkpoint()

    async def finish(self, run: Run) -> None:  # noqa: ARG002  the seam has it
        await trio.lowlevel.checkpoint()

    def farewell(self, run: Run) -> list[Event]:  # noqa: ARG002  the seam has it
        return []

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()


async def runs(observer: Observer, *, number: int) -> int:
    """Accept, play and settle runs one after the other; return how many."""
    hub = Hub(SETTINGS, observer=observer)
    async with trio.open_nursery() as nursery:
        owner = Owner(nursery)
        for each in range(number):
            lane = Lane(SessionID("s"), hub.publish, Results(600), SETTINGS, observer)
            run = Run(RunID(f"r{each}"), SessionID("s"), Prompt("x"), EmptyTurn(), owner)
            lane.accept(run)
            await run.finished.wait()
    return number


def cpu(work: Callable[[Observer], Awaitable[int]], observer: Callable[[], Observer]) -> float:
    """Return the seconds of CPU for one piece of work, the best of the rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        watching = observer()
        began = time.process_time()
        pieces = trio.run(work, watching)
        best = min(best, (time.process_time() - began) / pieces)
        assert not isinstance(watching, Monitor) or not watching.count + watching.faults
    return best


WORK: dict[str, Callable[[Observer], Awaitable[int]]] = {
    "an event, no reader": partial(publish, events=20_000, readers=0, wish=None),
    "an event, 1 reader": partial(publish, events=20_000, readers=1, wish=None),
    "an event, 50 readers": partial(publish, events=5_000, readers=50, wish=None),
    "an event, 10 readers with ids": partial(publish, events=5_000, readers=10, wish=Wish()),
    "an event, 10 readers of deltas": partial(
        publish, events=5_000, readers=10, wish=Wish(deltas=True)
    ),
    "a run, empty": partial(runs, number=2_000),
}


def main() -> None:
    print(f"{'':<32}{'without':>10}{'with':>10}{'more':>10}")
    for name, work in WORK.items():
        without, with_it = cpu(work, lambda: SILENT), cpu(work, Monitor)
        figures = (without, with_it, with_it - without)
        print(f"{name:<32}" + "".join(f"{figure * 1e6:>7.1f} us" for figure in figures))


if __name__ == "__main__":
    main()
