"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crush_trio.addresses import Address


class AddressType(click.ParamType["Address"]):
    """A server's address on the command line."""

    name = "address"

    def convert(
        self,
        value: str | Address,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Address:
        """Return the address, or fail with what is wrong with it."""
        from crush_trio.addresses import Address, parse_address  # noqa: PLC0415  only when used
        from crush_trio.errors import BadRequestError  # noqa: PLC0415

        if isinstance(value, Address):
            return value
        try:
            return parse_address(value)
        except BadRequestError as error:
            self.fail(str(error), param, ctx)


host = click.option(
    "-H",
    "--host",
    "host",
    type=AddressType(),
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
