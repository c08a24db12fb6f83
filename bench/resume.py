"""How soon a client that lost its connection has what it missed."""

from __future__ import annotations

import re
import time

from processes import Model, Server, server
from prompts import rename
from sockets import pump
from table import Row

WHO = "client_id=00000000-0000-4000-8000-000000000001"
MISSED = (0, 1000)
"""Events that a client that comes back has missed."""


def measure(models: Model, rounds: int) -> list[Row]:
    rows: list[Row] = []
    with server("ours", models) as ours:
        session = ours.create_session()
        for missed in MISSED:
            row = Row(
                f"reconnect with the last id, {missed} events missed: to the last of them", "ms"
            )
            rows.append(row)
            for number in range(2 * rounds):
                last = _last_id(ours)
                for event in range(missed):
                    rename(ours, session, f"title {number} {event}")
                mark = f"title {number} {missed - 1}".encode() if missed else b'"questions"'
                begun = time.monotonic()
                with ours.connect() as client:
                    client.watch(mark)
                    client.send("GET", f"{ours.route}/events?{WHO}&after={last}")
                    pump([client], 10)
                    row.add("ours", client.marks[mark] - begun)
    return rows


def _last_id(ours: Server) -> int:
    """Return how far a stream with ids stands when it begins."""
    ours.claim()
    with ours.connect() as reader:
        reader.keep = b""
        reader.watch(b'"questions"')
        reader.send("GET", f"{ours.route}/events?{WHO}&ids=1")
        pump([reader], 10)
        found = re.search(rb'"last_id":(\d+)', reader.keep)
    assert found is not None
    return int(found[1])
