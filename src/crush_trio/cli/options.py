"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crush_trio.addresses import Address


def _to_address(ctx: click.Context, param: click.Parameter, value: str | None) -> Address | None:
    """Return the address that was given, or refuse it with what is wrong with it."""
    from crush_trio.addresses import parse_address  # noqa: PLC0415  only when it is used
    from crush_trio.errors import BadRequestError  # noqa: PLC0415

    try:
        return None if value is None else parse_address(value)
    except BadRequestError as error:
        raise click.BadParameter(str(error), ctx, param) from error


host = click.option(
    "-H",
    "--host",
    "host",
    callback=_to_address,
    metavar="ADDRESS",
    help="The server's address: unix:///path/to.sock or tcp://host:port. "
    "[default: this user's own socket]",
)

cwd = click.option(
    "-c",
    "--cwd",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    default=".",
    metavar="DIR",
    help="The directory to work in. [default: the current one]",
)

json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
