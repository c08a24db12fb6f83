"""A client of one server: what it is, which workspaces it has, and the way into one."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from crush_trio import __version__
from crush_trio.addresses import Address, default_address, parse_address, read_token
from crush_trio.client.connection import Connect, connector
from crush_trio.client.transport import Transport, open_transport, segment
from crush_trio.client.workspace import WorkspaceClient
from crush_trio.errors import BadRequestError, ResponseError, ServerUnavailableError
from crush_trio.ids import ClientID, new_id
from crush_trio.wire.workspaces import Control, CreateWorkspace, VersionInfo, Workspace

GOODBYE_TIMEOUT = 5.0
"""Seconds that leaving a workspace may take; the server's grace ends the claim if it takes longer."""

_log = logging.getLogger(__name__)


class Client:
    """A client of one server. Use :func:`open_client`.

    Every method raises :class:`~crush_trio.errors.ResponseError` when the server refuses and
    :class:`~crush_trio.errors.ServerUnavailableError` when it does not answer.

    Attributes:
        id: Names this client's claims on workspaces.
    """

    def __init__(self, transport: Transport, client_id: ClientID) -> None:
        self.id = client_id
        self._transport = transport

    def __repr__(self) -> str:
        return f"<Client {self.id} at {self._transport.name}>"

    async def health(self) -> None:
        """Return if the server is up."""
        await self._transport.call("GET", "/health")

    async def version(self) -> VersionInfo:
        """Return what the server is."""
        return (await self._transport.call("GET", "/version")).decode(VersionInfo)

    async def config(self) -> dict[str, object]:
        """Return the server's own configuration, which is an empty object (wire contract R-03)."""
        return (await self._transport.call("GET", "/config")).decode(dict[str, object])

    async def openapi(self) -> dict[str, object]:
        """Return the description of the server's routes, in the form of OpenAPI 3.1."""
        return (await self._transport.call("GET", "/openapi.json")).decode(dict[str, object])

    async def control(self, command: str) -> None:
        """Send a control command. Our server refuses them all with 409 (wire contract 0)."""
        await self._transport.call("POST", "/control", body=Control(command))

    async def retire(self) -> None:
        """Say goodbye for ever: all claims of this client end at once, and it can make no new ones."""
        await self._transport.call("DELETE", f"/clients/{segment(self.id)}")

    async def workspaces(self) -> list[Workspace]:
        """Return the open workspaces."""
        answer = await self._transport.call("GET", "/workspaces")
        return answer.decode_list(Workspace)

    def workspace(self, info: Workspace) -> WorkspaceClient:
        """Return a client for a workspace that somebody else has opened. Claims nothing."""
        return WorkspaceClient(self._transport, self.id, info)

    @asynccontextmanager
    async def open_workspace(
        self,
        path: str,
        *,
        yolo: bool = False,
        debug: bool = False,
        data_dir: str = "",
        env: Sequence[str] = (),
        linger: bool = False,
    ) -> AsyncGenerator[WorkspaceClient]:
        """Open the workspace at ``path``, or join it if it is open (W1).

        The claim is a hold of 30 s, unless :meth:`WorkspaceClient.events` is open; a run that has
        not settled keeps the workspace open too. Leaving the block is a goodbye: if no other
        client is there, the workspace closes and its runs are cancelled (R3).

        Args:
            path: An absolute path on the server's machine.
            yolo: Grant all permissions unasked. The first creator's flags win.
            debug: Told to all clients as ``options.debug``; the server logs no more for it.
            data_dir: Where the workspace stores its data; empty for the configured place.
            env: Environment of tools, as ``KEY=VALUE``.
            linger: Leave without a goodbye: runs go on, and the workspace stays for a grace.
        """
        body = CreateWorkspace(path, self.id, yolo, debug, data_dir, __version__, env=tuple(env))
        answer = await self._transport.call("POST", "/workspaces", body=body)
        workspace = self.workspace(answer.decode(Workspace))
        try:
            yield workspace
        finally:
            if not linger:
                with trio.move_on_after(GOODBYE_TIMEOUT, shield=True):
                    await _say_goodbye(workspace)


async def _say_goodbye(workspace: WorkspaceClient) -> None:
    """Release the claim. A server that cannot hear it needs no goodbye."""
    try:
        await workspace.release()
    except (ResponseError, ServerUnavailableError) as error:
        _log.debug("goodbye to workspace %s failed: %s", workspace.id, error)


@asynccontextmanager
async def open_client(
    address: Address | str | None = None,
    *,
    token: str | None = None,
    ca: str | os.PathLike[str] | None = None,
    connect: Connect | None = None,
    client_id: str | None = None,
    http2: bool = False,
) -> AsyncGenerator[Client]:
    """Open a client; leaving the block closes its connections. Entering it connects to nothing yet.

    Args:
        address: Where the server is, such as ``tcp://127.0.0.1:8080`` or, encrypted,
            ``https://127.0.0.1:8080``; the default address if None.
        token: For TCP; the environment's, else the token file's, if None.
        ca: File of the certificates to trust, in PEM; those of ``CRUSH_TRIO_TLS_CA`` if None, else
            the system's and the one that a server of this user has made.
        connect: Opens one connection, instead of a socket to ``address``.
        client_id: A UUID that names this client's claims; a new one if None.
        http2: Speak HTTP/2 from the first byte on, instead of HTTP/1.1; the server takes both.

    Raises:
        BadRequestError: the address, the token or the file of certificates makes no sense.
    """
    if address is None:
        address = default_address()
    elif isinstance(address, str):
        address = parse_address(address)
    if token is None and address.network == "tcp":
        token = read_token(address)
    if token is not None and not (token.isascii() and token.isprintable()):
        raise BadRequestError("the token has characters that no token has")
    if ca is not None:
        address = attrs.evolve(address, ca=os.fspath(ca))
    if connect is None:
        connect = connector(address, protocols=("h2",) if http2 else ("http/1.1",))
    async with open_transport(
        str(address), address.authority, token, connect, http2=http2
    ) as transport:
        yield Client(transport, ClientID(client_id or new_id()))
