"""The command line of the testing kit: sweeps and explorations that are too long for a test suite.

The work is shared among processes, one for each core: each plays every n-th run and prints its
report, and the first process adds them up.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence

import click
import msgspec
import trio

from crush_trio.testing.exploring import explore
from crush_trio.testing.report import Report
from crush_trio.testing.scenarios import SCENARIOS, STANDARD
from crush_trio.testing.sweeping import sweep

YOUNG = 50_000
"""Objects after which Python's collector looks at the new ones: about what some runs leave behind."""


@click.group()
def main() -> None:
    """Show that the promises hold, wherever something strikes."""
    gc.freeze()  # what is imported stays: looking at it again and again costs 7 % of a short run
    gc.set_threshold(YOUNG)


@main.command("sweep")
@click.option("--jobs", default=os.cpu_count() or 1, help="Processes to use.")
@click.option(
    "--sample", type=int, help="Steps that each disturbance strikes at; all if not given."
)
@click.option("--only", default="", help="Sweep the scenarios whose name holds this.")
@click.option("--disturb", multiple=True, help="Strike with this; all disturbances if not given.")
@click.option("--seed", default=0, help="Of all runs.")
@click.option("--share", nargs=2, type=int, hidden=True)
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


@main.command("explore")
@click.option("--jobs", default=os.cpu_count() or 1, help="Processes to use.")
@click.option("--seeds", default=1000, help="Runs of each scenario.")
@click.option("--first", default=0, help="The first seed.")
@click.option("--only", default=STANDARD.name, help="Play the scenarios whose name holds this.")
@click.option("--strike", is_flag=True, help="Let each seed also choose what strikes, and where.")
@click.option("--share", nargs=2, type=int, hidden=True)
def explore_command(
    jobs: int, seeds: int, first: int, only: str, share: tuple[int, int] | None, *, strike: bool
) -> None:
    """Play scenarios with many seeds, which is in many orders of scheduling."""
    if share is None:
        began = time.monotonic()
        failed = trio.run(_explore_together, [*sys.argv[1:]], min(jobs, seeds))
        click.echo(f"in {time.monotonic() - began:.0f} s with {min(jobs, seeds)} processes")
        sys.exit(failed)
    number, of = share
    mine = len(range(number, seeds, of))
    found = [
        explore(scenario, mine, first=first + number, step=of, strike=strike)
        for name, scenario in SCENARIOS.items()
        if only in name
    ]
    for each in found:
        click.echo(str(each))
    sys.exit(1 if not found or any(each.failures or not each.runs for each in found) else 0)


async def _explore_together(arguments: Sequence[str], jobs: int) -> int:
    """Let so many processes explore; return 1 if one of them has found something."""
    failed = 0

    async def work(number: int) -> None:
        nonlocal failed
        done = await trio.run_process(_command(arguments, number, jobs), check=False)
        failed = failed or done.returncode

    async with trio.open_nursery() as nursery:
        for number in range(jobs):
            nursery.start_soon(work, number)
    return min(failed, 1)


def _command(arguments: Sequence[str], number: int, jobs: int) -> list[str]:
    """Return the command line of one of the processes that share the work."""
    command = [sys.executable, "-m", "crush_trio.testing", *arguments]
    return [*command, "--share", str(number), str(jobs)]


async def _share_out(arguments: Sequence[str], jobs: int) -> Report:
    """Let so many processes do the work; return the sum of their reports."""
    total = Report()

    async def work(number: int) -> None:
        done = await trio.run_process(_command(arguments, number, jobs), capture_stdout=True)
        total.add(msgspec.json.decode(done.stdout, type=Report))

    async with trio.open_nursery() as nursery:
        for number in range(jobs):
            nursery.start_soon(work, number)
    return total
