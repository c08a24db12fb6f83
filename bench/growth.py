"""What is left of many runs and many reconnects: memory, tasks, descriptors.

Each is measured twice, as the first time fills what a process keeps for the next: the second time
counts. Before and after, the workspace is closed and nobody is connected but the bench.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from processes import Model, Server, server
from prompts import post, script
from sockets import COMPLETE, pump
from table import Row

BATCH = 20


def measure(models: Model, *, quick: bool) -> list[Row]:
    runs, reconnects = (100, 1000) if quick else (1000, 10_000)
    rows: list[Row] = []
    with server("ours", models, "counted") as ours:
        rows += _growth(ours, f"over {runs} runs", "", lambda: _run(ours, runs))
        rows += _growth(
            ours,
            f"over {reconnects} reconnects",
            "+3 to +11 MB (2,000)",
            lambda: _reconnect(ours, reconnects),
        )
    with server("bare", models) as bare:
        memory = rows[len(rows) // 2]
        _reconnect(bare, reconnects)
        before = bare.rss
        _reconnect(bare, reconnects)
        memory.add("bare", bare.rss - before)
    return rows


def _growth(ours: Server, what: str, reference: str, work: Callable[[], None]) -> list[Row]:
    rows = [
        Row(f"growth {what}: memory", "MB", 1.0, reference),
        Row("... tasks", "", 0.0),
        Row("... descriptors", "", 0.0),
        Row("... each took", "ms"),
    ]
    work()
    before = _at_rest(ours)
    begun = time.monotonic()
    work()
    took = time.monotonic() - begun
    after = _at_rest(ours)
    for row, name in zip(rows, ("bytes", "tasks", "descriptors"), strict=False):
        row.add("ours", after[name] - before[name])
    rows[-1].add("ours", took / int(what.split()[1]))
    return rows


def _at_rest(ours: Server) -> dict[str, int]:
    """Close the workspace, and return what is held when that has not changed for a while."""
    ours.claim()
    ours.leave()
    held, since = ours.held(), time.monotonic()
    while time.monotonic() < since + 2:
        time.sleep(0.2)
        now = ours.held()
        if (now["tasks"], now["descriptors"]) != (held["tasks"], held["descriptors"]):
            since = time.monotonic()
        held = now
    return held


def _run(ours: Server, count: int) -> None:
    """Prompt, twenty times in each session, and wait for each end."""
    for _ in range(count // BATCH):
        session = ours.create_session()
        with ours.readers(1) as (reader,):
            for _ in range(BATCH):
                reader.watch(COMPLETE)
                post(ours, session, script(5))
                pump([reader, ours.client], 20)


def _reconnect(any_server: Server, count: int) -> None:
    """Open and drop streams."""
    for _ in range(count // BATCH):
        with any_server.readers(BATCH):
            pass
