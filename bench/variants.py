"""What two ideas cost and bring: writing at once, and a window in which snapshots wait for others.

Each row is a variant of ours (``variant.py``) under one load. Rounds alternate between variants.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack

from cancel import once as cancel_once
from processes import Model, Server, server
from prompts import prompt, rename, script
from sockets import Client, drain, pump
from table import Row

VARIANTS = ("as-is", "loop-writes", "window-10", "window-25")
SESSIONS = 20
EVENTS = 20
CROWD = 500

Load = Callable[[Server, Model], tuple[float, ...]]


def measure(model: Model, rounds: int) -> list[Row]:
    loads: list[tuple[list[tuple[str, str]], Load]] = [
        (
            [
                ("2,000 tokens at full speed to 50 readers", "ms"),
                ("... server CPU", "s"),
                ("... first text", "ms"),
            ],
            _fast,
        ),
        ([("2,000 tokens over 4.5 s to 50 readers: server CPU", "s")], _paced),
        (
            [(f"{SESSIONS} answers at once of 200 tokens over 5 s to 50 readers: server CPU", "s")],
            _many,
        ),
        ([(f"{EVENTS} single events, each to {CROWD} readers: server CPU", "s")], _single),
        ([("prompt to run_complete, 5 tokens, 1 reader", "ms")], _short),
        ([("cancel to run_complete at the slowest of 10 readers", "ms")], _cancelled),
    ]
    rows = {
        (variant, name): Row(f"{name} ({variant})", unit)
        for names, _ in loads
        for name, unit in names
        for variant in VARIANTS
    }
    with ExitStack() as stack:
        servers = {
            variant: stack.enter_context(server("ours", model, variant)) for variant in VARIANTS
        }
        for each in servers.values():
            _short(each, model)
        for names, load in loads:
            for _ in range(rounds):
                for variant, each in servers.items():
                    for (name, _), sample in zip(names, load(each, model), strict=True):
                        rows[variant, name].add("ours", sample)
    return list(rows.values())


def _fast(each: Server, model: Model) -> tuple[float, ...]:
    with each.readers(50) as opened:
        timing = prompt(each, model, each.create_session(), opened, text=script(2000))
    return timing.completed, timing.cpu, timing.first_text


def _paced(each: Server, model: Model) -> tuple[float, ...]:
    with each.readers(50) as opened:
        return (prompt(each, model, each.create_session(), opened, text=script(2000, 4.5)).cpu,)


def _many(each: Server, _: Model) -> tuple[float, ...]:
    names = [each.create_session() for _ in range(SESSIONS)]
    with each.readers(50) as opened, ExitStack() as stack:
        clients = [stack.enter_context(each.connect()) for _ in names]
        used = each.cpu
        for client, name in zip(clients, names, strict=True):
            client.watch(b"HTTP/1.1 200")
            body = {"session_id": name, "prompt": script(200, 5)}
            client.send("POST", f"{each.route}/agent", body)
        _pump_both(clients, opened)
        return (each.cpu - used,)


def _single(each: Server, _: Model) -> tuple[float, ...]:
    session = each.create_session()
    with each.readers(CROWD) as opened:
        drain(opened)
        used = each.cpu
        for number in range(EVENTS):
            title = f"title {number} for all"
            for reader in opened:
                reader.watch(title.encode())
            rename(each, session, title)
            pump(opened, 30)
        return (each.cpu - used,)


def _pump_both(clients: list[Client], readers: list[Client]) -> None:
    """Wait for all answers, and read the streams meanwhile."""
    for reader in readers:
        reader.watch()
    pump([*clients, *readers], 60)


def _short(each: Server, model: Model) -> tuple[float, ...]:
    with each.readers(1) as opened:
        session = each.create_session()
        done = [prompt(each, model, session, opened, text=script(5)).completed for _ in range(5)]
    return (statistics.median(done),)


def _cancelled(each: Server, model: Model) -> tuple[float, ...]:
    return (cancel_once(each, model)[1],)
