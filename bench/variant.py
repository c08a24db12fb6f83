"""Our server with one thing changed or counted, for experiments.

    python bench/variant.py NAME serve ...

as-is        nothing is changed
loop-writes  every write goes through the event loop; none is tried at once
window-10    snapshots that stream wait up to 10 ms for each other; all else goes out at once
window-25    up to 25 ms
counted      tells what it holds, a line of JSON for each line on its input
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from crush_trio import server
from crush_trio.cli import main
from crush_trio.hub import Hub
from crush_trio.server.guard.connection import GuardedTCPServer
from crush_trio.wire.events import Event
from crush_trio.workspaces import workspace


class WindowHub(Hub):
    """A hub whose streaming updates are not there for anybody until their window has passed."""

    seconds = 0.0

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._held: list[Event] = []

    def publish(self, event: Event) -> None:
        event.frame  # noqa: B018  encoded now, as the hub does
        self._held.append(event)
        if not event.streaming:
            self._release()
        elif len(self._held) == 1:
            trio.lowlevel.spawn_system_task(self._wait)  # noqa: TID251  an experiment

    async def _wait(self) -> None:
        await trio.sleep(self.seconds)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for event in held:
            super().publish(event)


def set_window(milliseconds: float) -> None:
    WindowHub.seconds = milliseconds / 1000
    workspace.Hub = WindowHub


def write_in_the_loop() -> None:
    def nothing(_: GuardedTCPServer, data: bytes) -> int:  # noqa: ARG001
        return 0

    vars_of: Any = GuardedTCPServer
    vars_of._write_now = nothing  # noqa: SLF001


def count() -> None:
    serve_forever = server.serve_forever

    async def counted(*parts: Any, **named: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await serve_forever(*parts, **named)
            nursery.cancel_scope.cancel()

    server.serve_forever = counted


async def tell() -> None:
    async for _ in trio.lowlevel.FdStream(os.dup(0)):
        print(json.dumps(held()), flush=True)


def held() -> dict[str, int]:
    gc.collect()
    (resident,) = (
        line
        for line in Path("/proc/self/status").read_text("ascii").splitlines()
        if line.startswith("VmRSS:")
    )
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "bytes": int(resident.split()[1]) * 1024,
    }


CHANGES: dict[str, Callable[[], None]] = {
    "as-is": lambda: None,
    "loop-writes": write_in_the_loop,
    "window-10": partial(set_window, 10),
    "window-25": partial(set_window, 25),
    "counted": count,
}

if __name__ == "__main__":
    CHANGES[sys.argv[1]]()
    main(sys.argv[2:])
