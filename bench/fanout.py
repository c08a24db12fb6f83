"""Answers of many tokens, to one reader and to many."""

from __future__ import annotations

import attrs

from processes import Kind, Model, Server
from prompts import prompt, script
from table import Row


@attrs.frozen
class Load:
    """Tokens to readers, and the rows for what it took."""

    tokens: int
    readers: int
    seconds: float = 0
    wall: Row | None = None
    cpu: Row | None = None
    received: Row | None = None
    rounds: int = 5
    deltas: bool = False


def loads() -> list[Load]:
    return [
        Load(2000, 1, wall=Row("2,000 tokens at full speed to 1 reader", "ms", 150, "124 ms")),
        Load(
            2000,
            50,
            wall=Row("... to 50 readers", "ms", 200, "189-205 ms"),
            cpu=Row("... to 50 readers: server CPU", "s", 0.25, "0.27 s"),
        ),
        Load(
            2000,
            50,
            seconds=4.5,
            cpu=Row("2,000 tokens over 4.5 s to 50 readers: server CPU", "s", 1.0, "3.05 s"),
            rounds=3,
        ),
        Load(
            30_000,
            10,
            wall=Row("30,000 tokens at full speed to 10 readers", "s", 3, "14.8 s"),
            cpu=Row("... server CPU", "s", 3, "25 s"),
            received=Row("... bytes a reader", "MB", 4, "45 MB"),
            rounds=3,
        ),
        Load(
            30_000,
            10,
            wall=Row("... to 10 readers that ask for deltas", "s", 3),
            cpu=Row("... server CPU", "s", 3),
            received=Row("... bytes a reader", "MB", 0.5),
            rounds=3,
            deltas=True,
        ),
        Load(
            30_000,
            10,
            seconds=6,
            cpu=Row("30,000 tokens over 6 s to 10 readers: server CPU", "s", 6, "52 s"),
            received=Row("... bytes a reader", "MB", 6, "90 MB"),
            rounds=2,
        ),
    ]


def measure(servers: dict[Kind, Server], model: Model, rounds: int) -> list[Row]:
    rows: list[Row] = []
    for load in loads():
        for _ in range(min(rounds, load.rounds)):
            for kind, server in servers.items():
                if kind == "ours" or not load.deltas:  # the bare server knows no deltas
                    _one(load, kind, server, model)
        rows += [row for row in (load.wall, load.cpu, load.received) if row is not None]
    return rows


def _one(load: Load, kind: Kind, server: Server, model: Model) -> None:
    session = server.create_session()
    with server.readers(load.readers, query="&deltas=1" if load.deltas else "") as opened:
        timing = prompt(
            server, model, session, opened, text=script(load.tokens, load.seconds), limit=90
        )
    assert timing.completed >= load.seconds, "the model was faster than it was told to be"
    if load.wall is not None:
        load.wall.add(kind, timing.completed)
    if load.cpu is not None:
        load.cpu.add(kind, timing.cpu)
    if load.received is not None:
        load.received.add(kind, timing.received)
