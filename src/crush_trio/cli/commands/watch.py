"""``crush-trio watch``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio

if TYPE_CHECKING:
    from crush_trio.addresses import Address


@click.command()
@options.cwd
@options.host
@options.tls_ca
@click.option("--json", "as_json", is_flag=True, help="Print the events' JSON as it comes.")
def watch(cwd: str, host: Address | None, as_json: bool) -> ExitCode:
    """Print what happens in a directory's workspace, until Ctrl-C."""
    from crush_trio.cli.watching import watch_workspace

    return run_trio(partial(watch_workspace, cwd, host, as_json=as_json))
