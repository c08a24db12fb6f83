"""``crush-trio doctor``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio

if TYPE_CHECKING:
    from crush_trio.addresses import Address


@click.command()
@options.url
@options.tls_ca
@click.option(
    "--token",
    metavar="TOKEN",
    help="The right token. [default: $CRUSH_TRIO_TOKEN; else this user's own server's]",
)
def doctor(url: Address | None, token: str | None) -> ExitCode:
    """Find out whether a server can be entered by those who should not.

    It sends any server that speaks Crush's protocol what a foreign web page could make a browser
    send, and guesses at its token, and prints what was answered. Nothing on the server changes.
    Exits with 1 if an answer is not as it should be.
    """
    from crush_trio.cli.diagnosing import diagnose

    return run_trio(partial(diagnose, url, token))
