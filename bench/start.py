"""Starting a server, and the memory that it holds."""

from __future__ import annotations

import time

from processes import Kind, Model, server
from prompts import prompt, script
from table import Row

READERS = 400
KINDS: tuple[Kind, ...] = ("ours", "bare")


def measure(model: Model, rounds: int) -> list[Row]:
    rows = [
        Row("exec to first healthy answer", "s", 0.40, "0.085-0.118 s"),
        Row("first prompt after the start to its request at the model", "ms"),
        Row("RSS idle", "MB", 60, "56 MB"),
        Row("RSS after three prompts", "MB", 80, "73 MB"),
        Row("memory per 100 idle readers", "MB", 3.0, "3.4-3.9 MB"),
    ]
    for _ in range(rounds):
        for kind in KINDS:
            for row, sample in zip(rows, _one(kind, model), strict=True):
                row.add(kind, sample)
    return rows


def _one(kind: Kind, model: Model) -> tuple[float, ...]:
    with server(kind, model) as started:
        session = started.create_session()
        with started.readers(1) as few:
            first = prompt(started, model, session, few, text=script(5)).arrived
            for _ in range(2):
                prompt(started, model, session, few, text=script(5))
            time.sleep(0.3)
            after = started.rss
        with started.readers(20):
            pass  # what the first streams cost once is not what a stream costs
        time.sleep(0.2)
        before = started.rss
        with started.readers(READERS):
            time.sleep(0.3)
            held = (started.rss - before) / READERS * 100
        return started.started_in, first, started.idle_rss, after, held
