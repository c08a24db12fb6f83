"""``crush-trio logs``."""

from __future__ import annotations

from functools import partial

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio


@click.command()
@options.cwd
@options.data_dir
@click.option("-f", "--follow", is_flag=True, help="Go on printing what comes.")
@click.option(
    "-t", "--tail", type=click.IntRange(0), default=1000, show_default=True, help="Lines to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they are, in JSON.")
def logs(cwd: str, data_dir: str, follow: bool, tail: int, as_json: bool) -> ExitCode:
    """Print a directory's log. Needs no server."""
    from crush_trio.cli.tailing import show_log

    return run_trio(
        partial(show_log, cwd, data_dir=data_dir, follow=follow, tail=tail, as_json=as_json)
    )
