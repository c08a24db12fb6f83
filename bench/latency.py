"""How long one prompt waits for us: before its request, before its text, until its end."""

from __future__ import annotations

from collections.abc import Sequence

from processes import Kind, Model, Server
from prompts import Timing, post, prompt, script
from sockets import Client, drain, pump, readers, COMPLETE
from table import Row

SHORT = 10
LONG = 842
LONG_BYTES = 797_000
"""The reference's measurement: so many messages, of so many bytes together."""


def measure(servers: dict[Kind, Server], model: Model, rounds: int, *, quick: bool) -> list[Row]:
    rows = {
        "short": Row(f"prompt to its request at the model, {SHORT} messages", "ms", 5, "6.7 ms"),
        "long": Row(f"... {LONG} messages, 797 kB", "ms", 10, "48-63 ms"),
        "text": Row("model's first byte to first text at a reader", "ms", 2, "2.9 ms"),
        "end": Row("prompt to run_complete, 5 tokens", "ms", 13, "13.5 ms"),
    }
    for kind, server in servers.items():
        with readers(server.port, server.route, 1) as opened:
            _short(rows, kind, server, model, opened, rounds)
            if not quick:
                _long(rows["long"], kind, server, model, opened, rounds)
    return list(rows.values())


def _short(
    rows: dict[str, Row],
    kind: Kind,
    server: Server,
    model: Model,
    opened: Sequence[Client],
    rounds: int,
) -> None:
    for _ in range(rounds):
        session = server.create_session()
        timing: Timing | None = None
        for _ in range(SHORT // 2 + 1):  # a user message and an answer each
            timing = prompt(server, model, session, opened, text=script(5))
        assert timing is not None
        rows["short"].add(kind, timing.arrived)
        rows["text"].add(kind, timing.first_text)
        rows["end"].add(kind, timing.completed)


def _long(
    row: Row, kind: Kind, server: Server, model: Model, opened: Sequence[Client], rounds: int
) -> None:
    session = server.create_session()
    padding = "x" * (2 * LONG_BYTES // LONG - 100)
    for _ in range(LONG // 2):
        for reader in opened:
            reader.watch(COMPLETE)
        post(server, session, padding + script(5))
        pump([*opened, server.client], 10)
    drain(opened)
    for _ in range(rounds):
        row.add(kind, prompt(server, model, session, opened, text=script(5)).arrived)
