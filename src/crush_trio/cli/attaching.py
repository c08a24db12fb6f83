"""The way to a server: a client of it, after starting one where none runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crush_trio.addresses import Address, default_address
from crush_trio.cli.launching import ensure_server
from crush_trio.client import Client, open_client


@asynccontextmanager
async def open_attached(host: Address | None, *, start: bool = True) -> AsyncGenerator[Client]:
    """Open a client of the server at ``host``, by default at the default address.

    Args:
        host: The address; None for the default one.
        start: Start a detached server there if none answers and it is a socket of this machine.

    Raises:
        ServerUnavailableError: no server answers, and none could be started.
    """
    address = host or default_address()
    async with open_client(address) as client:
        if start:
            await ensure_server(client, address)
        yield client
