"""Many sessions, many streams, many open prompts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from processes import Kind, Model, Server
from prompts import prompt, rename, script
from sockets import Client, drain, pump
from table import Row

ANSWERED = b"HTTP/1.1 200"


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


def posts(servers: dict[Kind, Server], counts: Iterable[int]) -> list[Row]:
    """Hold many prompts open, each in the middle of its answer; then cancel them all at once."""
    rows: list[Row] = []
    for count in counts:
        held = Row("open POSTs held", "", float(count), at_least=True)
        memory = Row(f"... memory for each of {count}, with its run and its model", "kB")
        idle = Row("... server CPU while nothing happens", "%")
        ended = Row("... cancelled at once: the last one answered after", "s")
        for kind, server in servers.items():
            names = [server.create_session() for _ in range(count)]
            with ExitStack() as stack:
                clients = [stack.enter_context(server.connect()) for _ in names]
                before = server.rss
                for client, name in zip(clients, names, strict=True):
                    client.watch(ANSWERED)
                    body = {"session_id": name, "prompt": script(5, hold=True)}
                    client.send("POST", f"{server.route}/agent", body)
                idle.add(kind, _idle(server))
                server.claim()
                memory.add(kind, (server.rss - before) / count)
                begun = time.monotonic()
                cancels = [stack.enter_context(server.connect()) for _ in names]
                for client, name in zip(cancels, names, strict=True):
                    client.send("POST", f"{server.route}/agent/sessions/{name}/cancel")
                pump(clients, 60)
                ended.add(kind, time.monotonic() - begun)
                held.add(kind, sum(client.satisfied for client in clients))
        rows += [held, memory, idle, ended]
    return rows


def _idle(server: Server, seconds: float = 5.0) -> float:
    """Wait until a server rests; return which part of a processor it uses then."""
    deadline = time.monotonic() + 60
    used = server.cpu
    while time.monotonic() < deadline:
        time.sleep(1.0)
        if server.cpu - used < 0.02:
            break
        used = server.cpu
    used, begun = server.cpu, time.monotonic()
    time.sleep(seconds)
    return (server.cpu - used) / (time.monotonic() - begun)


def streams(servers: dict[Kind, Server], model: Model, counts: Iterable[int]) -> list[Row]:
    """Hold many streams; then one short answer must reach all of them."""
    rows: list[Row] = []
    for count in counts:
        held = Row("open event streams held", "", float(count), "500 tried", at_least=True)
        memory = Row(f"... memory for each of {count}", "kB")
        opening = Row("... opened in", "s")
        idle = Row("... server CPU while nothing happens", "%")
        one = Row("... one event to the last of them", "s")
        last = Row("... prompt to run_complete at the last of them", "s")
        for kind, server in servers.items():
            before, begun = server.rss, time.monotonic()
            with server.readers(count) as opened:
                opening.add(kind, time.monotonic() - begun)
                idle.add(kind, _idle(server))
                memory.add(kind, (server.rss - before) / count)
                session = server.create_session()
                drain(opened)
                one.add(kind, _tell(server, session, opened))
                timing = prompt(server, model, session, opened, text=script(5), limit=60)
                last.add(kind, timing.completed)
                held.add(kind, len(opened))
        rows += [held, memory, opening, idle, one, last]
    return rows


def _tell(server: Server, session: str, readers: Sequence[Client]) -> float:
    """Publish one event; return how long it took to reach every reader."""
    title = b"a title for all"
    for reader in readers:
        reader.watch(title)
    begun = time.monotonic()
    rename(server, session, title.decode())
    pump(readers, 60)
    return max(reader.marks[title] for reader in readers) - begun
