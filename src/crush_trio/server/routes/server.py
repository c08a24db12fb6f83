"""Server-level routes: health, version, global configuration, control, retire (R-01 to R-05)."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response

from crush_trio.errors import BadRequestError, ConflictError
from crush_trio.server.body import read_body
from crush_trio.server.client_ids import body_client
from crush_trio.server.identity import Identity
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.workspaces import Control, VersionInfo
from crush_trio.workspaces import WorkspaceHost


def blueprint(host: WorkspaceHost, identity: Identity) -> Blueprint:
    """Return the server-level routes; the identity says what the server is."""
    routes = Blueprint("server", __name__, url_prefix="/v1")

    @routes.get("/health")
    @operation("Whether the server is up.")
    async def health() -> Response:
        return empty()

    @routes.get("/version")
    @operation("What the server is.", reply=VersionInfo)
    async def version() -> Response:
        return answer(await identity())

    @routes.get("/config")
    @operation("The server's own configuration: an empty object.", reply=dict[str, Any])
    async def config() -> Response:
        return answer({})

    @routes.post("/control")
    @operation("Refused always: no client replaces this server.", body=Control)
    async def control() -> Response:
        """Refuse always: this server is not replaced by a client (wire contract 0)."""
        request = await read_body(Control)
        if request.command not in {"shutdown", "shutdown_if_idle"}:
            raise BadRequestError("unknown command")
        raise ConflictError("server is hosting live workspaces")

    @routes.delete("/clients/<client_id>")
    @operation("Say goodbye for ever: all claims of a client end.")
    async def retire(client_id: str) -> Response:
        host.retire(body_client(client_id))
        return empty()

    return routes
