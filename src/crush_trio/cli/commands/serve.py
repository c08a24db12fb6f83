"""``crush-trio serve``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio

if TYPE_CHECKING:
    from crush_trio.addresses import Address


@click.command()
@options.host
@click.option(
    "--idle-exit",
    type=click.FloatRange(min=0),
    envvar="CRUSH_SERVER_IDLE_TIMEOUT",
    show_envvar=True,
    metavar="SECONDS",
    help="Exit after so many seconds without an open workspace. [default: never]",
)
@click.option("--no-token", is_flag=True, help="Let everybody in; only on a loopback TCP address.")
@click.option("--debug", "-d", is_flag=True, help="Log more.")
def serve(host: Address | None, idle_exit: float | None, no_token: bool, debug: bool) -> ExitCode:
    """Run the server until it is told to stop.

    It listens on this user's own socket, or where --host says. On TCP it asks for a token: that of
    CRUSH_TRIO_TOKEN, or one that it makes and keeps where this user's clients find it.
    """
    from crush_trio.addresses import default_address
    from crush_trio.server import ServeOptions, serve_forever

    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if not debug:
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every model request
    serving = ServeOptions(host or default_address(), no_token, idle_exit, debug)

    async def main() -> ExitCode:
        await serve_forever(serving)
        return ExitCode.OK

    return run_trio(main)
