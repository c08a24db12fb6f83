"""Many sessions, many streams, and clients that come and go."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack

from processes import Kind, Model, Server
from prompts import prompt, script
from sockets import pump
from table import Row

ANSWERED = b"HTTP/1.1 200"
RECONNECTS = 2000


def sessions(servers: dict[Kind, Server], counts: Iterable[int]) -> list[Row]:
    """Prompt many sessions in the same moment; every POST must answer 200."""
    rows: list[Row] = []
    for count in counts:
        wanted = float(count)
        answered = Row(
            f"{count} sessions prompted in the same moment: answered",
            "",
            wanted,
            "its process dies",
            at_least=True,
        )
        wall = Row("... wall", "s")
        cpu = Row("... server CPU", "s")
        for kind, server in servers.items():
            cpu_before = server.cpu
            number, took = _all_at_once(server, count)
            answered.add(kind, number)
            wall.add(kind, took)
            cpu.add(kind, server.cpu - cpu_before)
        rows += [answered, wall, cpu]
    return rows


def _all_at_once(server: Server, count: int) -> tuple[int, float]:
    names = [server.create_session() for _ in range(count)]
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in names]
        begun = time.monotonic()
        for client, name in zip(clients, names, strict=True):
            client.watch(ANSWERED)
            client.send("POST", f"{server.route}/agent", {"session_id": name, "prompt": script(5)})
        pump(clients, 120)
        return sum(client.satisfied for client in clients), time.monotonic() - begun


def reconnects(servers: dict[Kind, Server]) -> list[Row]:
    """Open and drop streams; what the process keeps of that is growth."""
    growth = Row(f"growth over {RECONNECTS} reconnects", "MB", 1.0, "+3 to +11 MB")
    for kind, server in servers.items():
        _come_and_go(server, RECONNECTS // 4)
        before = server.rss
        _come_and_go(server, RECONNECTS)
        growth.add(kind, server.rss - before)
    return [growth]


def _come_and_go(server: Server, count: int) -> None:
    for _ in range(count // 20):
        with server.readers(20):
            pass
    time.sleep(0.5)


def streams(servers: dict[Kind, Server], model: Model, counts: Iterable[int]) -> list[Row]:
    """Hold many streams; then one short answer must reach all of them."""
    rows: list[Row] = []
    for count in counts:
        held = Row("open event streams held", "", float(count), "500 tried", at_least=True)
        memory = Row(f"... memory for each of {count}", "kB")
        opening = Row("... opened in", "s")
        last = Row("... prompt to run_complete at the last of them", "s")
        for kind, server in servers.items():
            before, begun = server.rss, time.monotonic()
            with server.readers(count) as opened:
                opening.add(kind, time.monotonic() - begun)
                time.sleep(0.5)
                memory.add(kind, (server.rss - before) / count)
                session = server.create_session()
                timing = prompt(server, model, session, opened, text=script(5), limit=60)
                last.add(kind, timing.completed)
                held.add(kind, len(opened))
        rows += [held, memory, opening, last]
    return rows
