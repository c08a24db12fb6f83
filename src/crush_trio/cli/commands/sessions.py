"""``crush-trio sessions``."""

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
@options.json
def sessions(cwd: str, host: Address | None, as_json: bool) -> ExitCode:
    """List a directory's sessions, the last used first."""
    from crush_trio.cli.listing import list_sessions

    return run_trio(partial(list_sessions, cwd, host, as_json=as_json))
