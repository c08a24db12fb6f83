"""``crush-trio cancel``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio

if TYPE_CHECKING:
    from crush_trio.addresses import Address


@click.command()
@click.argument("session", required=False)
@options.cwd
@options.host
@options.tls_ca
@click.option("--wait", is_flag=True, help="Return when everything cancelled has ended.")
@options.json
def cancel(
    session: str | None, cwd: str, host: Address | None, wait: bool, as_json: bool
) -> ExitCode:
    """Cancel all prompts of SESSION, running and waiting, and print which ones that were.

    SESSION is an id or its beginning. It may be left out if only one session is busy.
    """
    from crush_trio.cli.cancelling import cancel_session

    return run_trio(partial(cancel_session, session, cwd, host, wait=wait, as_json=as_json))
