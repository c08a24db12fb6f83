"""The command line of the testing kit: sweeps and explorations that are too long for a test suite.

The work is shared among processes, one for each core: each plays every n-th run and prints its
report, and the first process adds them up.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import click
import msgspec
import trio

from crush_trio.testing.report import Report
from crush_trio.testing.scenarios import SCENARIOS
from crush_trio.testing.sweeping import sweep


@click.group()
def main() -> None:
    """Show that the promises hold, wherever something strikes."""


@main.command("sweep")
@click.option("--jobs", default=os.cpu_count() or 1, help="Processes to use.")
@click.option(
    "--sample", type=int, help="Steps that each disturbance strikes at; all if not given."
)
@click.option("--only", default="", help="Sweep the scenarios whose name holds this.")
@click.option("--disturb", multiple=True, help="Strike with this; all disturbances if not given.")
@click.option("--seed", default=0, help="Of all runs.")
@click.option("--share", nargs=2, type=int, help="Be process k of n, and print a report as JSON.")
def sweep_command(
    jobs: int,
    sample: int | None,
    only: str,
    disturb: tuple[str, ...],
    seed: int,
    share: tuple[int, int] | None,
) -> None:
    """Strike every scenario with every disturbance at every step."""
    if share is None:
        began = time.monotonic()
        report = trio.run(_share_out, [*sys.argv[1:]], jobs)
        click.echo(f"{report}\nin {time.monotonic() - began:.0f} s with {jobs} processes")
        sys.exit(1 if report.violations or not report.strikes else 0)
    total = Report()
    for name, scenario in SCENARIOS.items():
        if only in name:
            wanted = disturb or None
            total.add(sweep(scenario, wanted, seed=seed, sample=sample, share=share))
    sys.stdout.buffer.write(msgspec.json.encode(total))


async def _share_out(arguments: Sequence[str], jobs: int) -> Report:
    """Let so many processes do the work; return the sum of their reports."""
    total = Report()

    async def work(number: int) -> None:
        command = [sys.executable, "-m", "crush_trio.testing", *arguments]
        share = ["--share", str(number), str(jobs)]
        done = await trio.run_process([*command, *share], capture_stdout=True)
        total.add(msgspec.json.decode(done.stdout, type=Report))

    async with trio.open_nursery() as nursery:
        for number in range(jobs):
            nursery.start_soon(work, number)
    return total
