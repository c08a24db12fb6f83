"""Measure every row of docs/performance.md, ours beside a bare server in the same run.

    python bench/run.py [--only NAME] [--quick] [--rounds N] [--json FILE] [--markdown FILE]

Servers and model are processes of their own, on loopback. Rounds of the two servers alternate, so
that what else the machine does hurts both; compare ratios of one run. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import cancel
import crowd
import fanout
import growth
import imports
import latency
import long
import resume
import start
import stop
import variants
from processes import Kind, Model, Server, model, server
from prompts import prompt, script
from table import Row, markdown, write_json

Servers = dict[Kind, Server]
GROUPS = (
    "start",
    "imports",
    "latency",
    "fanout",
    "cancel",
    "sessions",
    "posts",
    "resume",
    "stop",
    "growth",
    "streams",
)
LONG = ("long", "variants")
"""Minutes each: only by name."""


@contextmanager
def both(models: Model) -> Generator[Servers]:
    """Start both; what only the first prompt of a server costs is a row of its own, in ``start``."""
    with server("ours", models) as ours, server("bare", models) as bare:
        servers: Servers = {"ours": ours, "bare": bare}
        for each in servers.values():
            with each.readers(1) as opened:
                prompt(each, models, each.create_session(), opened, text=script(5))
        yield servers


def measure(group: str, models: Model, rounds: int, *, quick: bool) -> list[Row]:
    alone: dict[str, Callable[[], list[Row]]] = {
        "start": lambda: start.measure(models, rounds),
        "imports": lambda: imports.measure(rounds),
        "resume": lambda: resume.measure(models, rounds),
        "stop": lambda: stop.measure(models, min(rounds, 5)),
        "growth": lambda: growth.measure(models, quick=quick),
        "variants": lambda: variants.measure(models, min(rounds, 5)),
    }
    if group in alone:
        return alone[group]()
    work: dict[str, Callable[[Servers], list[Row]]] = {
        "latency": lambda servers: latency.measure(servers, models, rounds, quick=quick),
        "fanout": lambda servers: fanout.measure(servers, models, rounds),
        "cancel": lambda servers: cancel.measure(servers, models, 2 * rounds),
        "sessions": lambda servers: crowd.sessions(servers, [100] if quick else [100, 1000]),
        "posts": lambda servers: crowd.posts(servers, [100] if quick else [1000]),
        "long": lambda servers: long.measure(servers, (6,) if quick else (60, 300)),
        "streams": lambda servers: crowd.streams(
            servers, models, [200] if quick else [1000, 10_000]
        ),
    }
    with both(models) as servers:
        return work[group](servers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=(*GROUPS, *LONG), action="append")
    parser.add_argument("--quick", action="store_true", help="two rounds, small crowds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    parser.add_argument("--markdown", type=Path, help="write the whole table to this file")
    given = parser.parse_args()
    rounds = 2 if given.quick else given.rounds
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows: list[Row] = []
    with model() as models:
        for group in given.only or GROUPS:
            found = measure(group, models, rounds, quick=given.quick)
            print(markdown(found), end="\n\n", flush=True)
            rows += found
    if given.json:
        write_json(given.json, rows)
    if given.markdown:
        given.markdown.write_text(markdown(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
