"""How long one prompt waits for us: before its request, before its text, until its end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from processes import Kind, Model, Server
from prompts import Timing, post, prompt, script
from sockets import COMPLETE, Client, drain, pump
from table import Row

SHORT = 10
LONG = 842
LONG_BYTES = 797_000
"""The reference's measurement: so many messages, of so many bytes together."""

Listened = dict[Kind, tuple[Server, list[Client]]]


def measure(servers: dict[Kind, Server], model: Model, rounds: int, *, quick: bool) -> list[Row]:
    rows = [
        Row(f"prompt to its request at the model, {SHORT} messages", "ms", 5, "6.7 ms"),
        Row("model's first byte to first text at a reader", "ms", 2, "2.9 ms"),
        Row("prompt to run_complete, 5 tokens", "ms", 13, "13.5 ms"),
    ]
    long = Row(f"prompt to its request at the model, {LONG} messages, 797 kB", "ms", 10, "48-63 ms")
    with ExitStack() as stack:
        listened: Listened = {
            kind: (server, stack.enter_context(server.readers(1)))
            for kind, server in servers.items()
        }
        for _ in range(3 * rounds):
            for kind, (server, opened) in listened.items():
                timing = _after_ten(server, model, opened)
                for row, sample in zip(
                    rows, (timing.arrived, timing.first_text, timing.completed), strict=True
                ):
                    row.add(kind, sample)
        if not quick:
            _long(long, listened, model, rounds)
    return [*rows, long]


def _after_ten(server: Server, model: Model, opened: Sequence[Client]) -> Timing:
    """Return the timing of a prompt behind ten messages: five prompts and their answers."""
    session = server.create_session()
    for _ in range(SHORT // 2):
        _hurry(server, session, opened, script(5))
    return prompt(server, model, session, opened, text=script(5))


def _hurry(server: Server, session: str, opened: Sequence[Client], text: str) -> None:
    for reader in opened:
        reader.watch(COMPLETE)
    post(server, session, text)
    pump([*opened, server.client], 10)


def _long(row: Row, listened: Listened, model: Model, rounds: int) -> None:
    sessions: dict[Kind, str] = {}
    padding = "x" * (2 * LONG_BYTES // LONG - 100)
    for kind, (server, opened) in listened.items():
        sessions[kind] = server.create_session()
        for _ in range(LONG // 2):
            _hurry(server, sessions[kind], opened, padding + script(5))
        drain(opened)
    for _ in range(2 * rounds):
        for kind, (server, opened) in listened.items():
            timing = prompt(server, model, sessions[kind], opened, text=script(5))
            row.add(kind, timing.arrived)
