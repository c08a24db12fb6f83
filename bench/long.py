"""Answers that take minutes, as real ones do. Both servers at once: what counts is their CPU."""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from processes import Kind, Server
from prompts import post, script
from sockets import COMPLETE, Client, pump
from table import Row

TOKENS = 30_000
READERS = 10


def measure(servers: dict[Kind, Server], paces: tuple[int, ...]) -> list[Row]:
    rows: list[Row] = []
    for seconds in paces:
        aim = 6 if seconds <= 60 else None
        cpu = Row(f"30,000 tokens over {seconds} s to {READERS} readers: server CPU", "s", aim)
        received = Row("... bytes a reader", "MB", aim)
        deltas = Row("... and an eleventh reader, that asks for deltas: bytes", "MB", 1.5)
        rows += [cpu, received, deltas]
        with ExitStack() as stack:
            opened: dict[Kind, list[Client]] = {
                kind: stack.enter_context(server.readers(READERS))
                for kind, server in servers.items()
            }
            (eleventh,) = stack.enter_context(servers["ours"].readers(1, query="&deltas=1"))
            used = {kind: server.cpu for kind, server in servers.items()}
            for kind, server in servers.items():
                for reader in [*opened[kind], eleventh]:
                    reader.watch(COMPLETE)
                post(server, server.create_session(), script(TOKENS, seconds))
            clients = [server.client for server in servers.values()]
            pump([*(each for some in opened.values() for each in some), *clients, eleventh], 900)
            for kind, server in servers.items():
                cpu.add(kind, server.cpu - used[kind])
                received.add(kind, statistics.median(each.received for each in opened[kind]))
            deltas.add("ours", eleventh.received)
    return rows
