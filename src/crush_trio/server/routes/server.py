"""Server-level routes: health, version, global configuration, control, retire (R-01 to R-05)."""

from __future__ import annotations

import platform
import sys
from typing import Any

from quart import Blueprint, Response

from crush_trio import __version__
from crush_trio.errors import BadRequestError, ConflictError
from crush_trio.server.body import read_body
from crush_trio.server.client_ids import body_client
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.workspaces import Control, VersionInfo
from crush_trio.workspaces import WorkspaceHost

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's names for machines, which ``platform`` is spelled with."""


def version_info() -> VersionInfo:
    """Return what this server is; its build id fits no Crush client, so each of them reuses it."""
    machine = platform.machine()
    return VersionInfo(
        version=__version__,
        commit="unknown",
        build_id=f"crush-trio-{__version__}",
        go_version=f"python{platform.python_version()}",
        platform=f"{sys.platform}/{MACHINES.get(machine, machine)}",
    )


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the server-level routes."""
    routes = Blueprint("server", __name__, url_prefix="/v1")

    @routes.get("/health")
    @operation("Whether the server is up.")
    async def health() -> Response:
        return empty()

    @routes.get("/version")
    @operation("What the server is.", reply=VersionInfo)
    async def version() -> Response:
        return answer(version_info())

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
