"""``crush-trio models``."""

from __future__ import annotations

import click

from crush_trio.cli.exits import ExitCode, run_trio


@click.group()
def models() -> None:
    """Look after the embedded model."""


@models.command()
def pull() -> ExitCode:
    """Fetch the embedded model's weights, if they are not here yet."""
    from crush_trio.cli.weights import pull_missing

    async def main() -> ExitCode:
        await pull_missing(tell_ready=True)
        return ExitCode.OK

    return run_trio(main)
