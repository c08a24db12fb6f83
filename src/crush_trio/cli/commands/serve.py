"""``crush-trio serve``."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio

if TYPE_CHECKING:
    from crush_trio.addresses import Address

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@options.host
@click.option(
    "--idle-exit",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Exit after so many seconds without an open workspace. "
    "[default: $CRUSH_SERVER_IDLE_TIMEOUT; else never]",
)
@click.option("--no-token", is_flag=True, help="Let everybody in; only on a loopback TCP address.")
@click.option("--token-file", type=_file, metavar="FILE", help="Ask for the token in this file.")
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Be called by this name too over TCP; may be repeated.",
)
@click.option("--tls-cert", type=_file, metavar="FILE", help="Encrypt TCP with this certificate.")
@click.option("--tls-key", type=_file, metavar="FILE", help="Its key, if that is another file.")
@click.option(
    "--tls-self-signed",
    is_flag=True,
    help="Encrypt TCP with a new certificate, kept where this user's clients find it.",
)
@click.option(
    "--monitor",
    is_flag=True,
    help="Check what is promised while it serves, and log what breaks it.",
)
@click.option(
    "--pretend-crush",
    type=_file,
    metavar="PROGRAM",
    help="Say that this server has the version of this program of Crush, as its clients expect it.",
)
@click.option("--debug", "-d", is_flag=True, help="Log more.")
def serve(  # noqa: PLR0913  one for each option
    *,
    host: Address | None,
    idle_exit: float | None,
    no_token: bool,
    token_file: Path | None,
    allow_hosts: tuple[str, ...],
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_self_signed: bool,
    monitor: bool,
    pretend_crush: Path | None,
    debug: bool,
) -> ExitCode:
    """Run the server until it is told to stop.

    It listens on this user's own socket, or where --host says. On TCP it asks for a token: that of
    --token-file or CRUSH_TRIO_TOKEN, or one that it makes and keeps where this user's clients find
    it. There it answers under the names of this machine only, and under those of --allow-host.
    """
    if no_token and token_file:
        raise click.UsageError("--no-token and --token-file exclude each other")
    if tls_self_signed and (tls_cert or tls_key):
        raise click.UsageError("--tls-self-signed and --tls-cert exclude each other")
    if tls_key and not tls_cert:
        raise click.UsageError("--tls-key needs --tls-cert")

    from crush_trio.cli.collector import Startup

    startup = Startup()  # before the imports that take most of it
    from crush_trio.addresses import default_address
    from crush_trio.cli.descriptors import raise_limit
    from crush_trio.cli.dotenv import with_dotenv
    from crush_trio.cli.seconds import IDLE_VARIABLE, settings_of, whole_seconds
    from crush_trio.server import CertificateFiles, ServeOptions, serve_forever

    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if not debug:
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every model request
    raise_limit()
    env = with_dotenv(Path.cwd(), os.environ)
    serving = ServeOptions(
        host or default_address(),
        no_token,
        whole_seconds(env, IDLE_VARIABLE) if idle_exit is None else idle_exit,
        debug,
        settings=settings_of(env),
        token_file=token_file,
        allow_hosts=allow_hosts,
        tls=CertificateFiles(tls_cert, tls_key)
        if tls_cert
        else ("self-signed" if tls_self_signed else None),
        monitor=monitor,
        pretend_crush=pretend_crush,
        env=env,
    )

    async def main() -> ExitCode:
        await serve_forever(serving, task_status=startup)
        return ExitCode.OK

    return run_trio(main)
