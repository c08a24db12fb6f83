"""How soon a loaded server has answered everybody and ended."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

from processes import Model, server
from prompts import script
from sockets import COMPLETE, pump
from table import Row

CROWD = 100
ANSWERED = b"HTTP/1.1 200"


def measure(models: Model, rounds: int) -> list[Row]:
    exit_row = Row(f"SIGTERM with {CROWD} open POSTs and {CROWD} streams: to the exit", "s", 1.0)
    answered = Row("... POSTs answered 200 and streams ended", "", 2.0 * CROWD, at_least=True)
    for _ in range(rounds):
        with server("ours", models) as ours, ExitStack() as stack:
            opened = stack.enter_context(ours.readers(CROWD))
            names = [ours.create_session() for _ in range(CROWD)]
            clients = [stack.enter_context(ours.connect()) for _ in names]
            for client, name in zip(clients, names, strict=True):
                client.watch(ANSWERED)
                body = {"session_id": name, "prompt": script(5, hold=True)}
                client.send("POST", f"{ours.route}/agent", body)
            for name in names:
                models.when("began", name, 60)
            for reader in opened:
                reader.watch(COMPLETE)
            begun = time.monotonic()
            ours.running.send_signal(signal.SIGTERM)
            pump([*clients, *opened], 20)
            assert ours.running.wait(20) == 0
            exit_row.add("ours", time.monotonic() - begun)
            for reader in opened:
                while not reader.ended:
                    reader.read()
            answered.add("ours", len(clients) + sum(reader.ended for reader in opened))
    return [exit_row, answered]
