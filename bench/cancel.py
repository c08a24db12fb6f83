"""How soon a cancel is answered, is over for everybody, and reaches the model."""

from __future__ import annotations

import time

from model import FIRST
from processes import Kind, Model, Server
from prompts import post, script
from sockets import COMPLETE, drain, pump
from table import Row

READERS = 10
ANSWERED = b"HTTP/1.1 200"


def measure(servers: dict[Kind, Server], model: Model, rounds: int) -> list[Row]:
    rows = [
        Row("cancel answered", "ms", 3, "2.5 ms"),
        Row("cancel to run_complete at the slowest of 10 readers", "ms", 3, "2.7-3.1 ms"),
        Row("cancel to the model's connection closed", "ms", 1.5, "1.7 ms"),
    ]
    for _ in range(rounds):
        for kind, server in servers.items():
            for row, sample in zip(rows, once(server, model), strict=True):
                row.add(kind, sample)
    return rows


def once(server: Server, model: Model) -> tuple[float, float, float]:
    """Cancel one run; return when that was answered, over for all readers, and at the model."""
    session = server.create_session()
    with (
        server.readers(READERS) as opened,
        server.connect() as canceller,
    ):
        model.forget()
        for reader in opened:
            reader.watch(FIRST.encode())
        post(server, session, script(500, 10))
        pump([*opened, server.client], 10)
        drain(opened, limit=0.2)  # it goes on: the cancel comes in the middle of the answer
        for reader in opened:
            reader.watch(COMPLETE)
        canceller.watch(ANSWERED)
        sent = time.monotonic()
        canceller.send("POST", f"{server.route}/agent/sessions/{session}/cancel")
        pump([*opened, canceller], 10)
        return (
            canceller.marks[ANSWERED] - sent,
            max(reader.marks[COMPLETE] for reader in opened) - sent,
            model.when("closed", session) - sent,
        )
