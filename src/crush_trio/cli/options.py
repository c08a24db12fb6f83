"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crush_trio.addresses import Address


_CA = "crush_trio.tls_ca"
"""Where a command's context keeps the file until the address is there."""


def _to_address(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
    """Return the address that was given, or refuse it with what is wrong with it."""
    import attrs  # noqa: PLC0415  only when it is used

    from crush_trio.addresses import parse_address  # noqa: PLC0415
    from crush_trio.errors import BadRequestError  # noqa: PLC0415

    try:
        address = None if value is None else parse_address(value)
    except BadRequestError as error:
        raise click.BadParameter(str(error), ctx, param) from error
    ca: str | None = ctx.meta.get(_CA)
    if ca is None:
        return address
    if address is None or not address.tls:
        raise click.UsageError("--tls-ca is for an address of the form https://host:port", ctx)
    return attrs.evolve(address, ca=ca)


def _keep_ca(ctx: click.Context, param: click.Parameter, value: str | None) -> None:  # noqa: ARG001  click's signature
    """Keep the file for the address, which is looked at later."""
    ctx.meta[_CA] = value


host = click.option(
    "-H",
    "--host",
    "host",
    callback=_to_address,
    metavar="ADDRESS",
    help="The server's address: unix:///path/to.sock, tcp://host:port or https://host:port. "
    "[default: this user's own socket]",
)

url = click.option(
    "--url",
    callback=_to_address,
    metavar="ADDRESS",
    help="Where the server is: http://host:port, https://host:port, or as for --host elsewhere. "
    "[default: this user's own socket]",
)

tls_ca = click.option(
    "--tls-ca",
    type=click.Path(exists=True, dir_okay=False),
    callback=_keep_ca,
    is_eager=True,
    expose_value=False,
    metavar="FILE",
    help="Trust only these certificates at https://. "
    "[default: $CRUSH_TRIO_TLS_CA; else the system's, and one that this user's server has made]",
)

cwd = click.option(
    "-c",
    "--cwd",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    default=".",
    metavar="DIR",
    help="The directory to work in. [default: the current one]",
)

data_dir = click.option(
    "-D",
    "--data-dir",
    default="",
    metavar="DIR",
    help="The data directory, where sessions are. [default: as the configuration says]",
)

json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
