"""Language servers (R-26 to R-29): none is run yet, and that is what clients are told.

One that is configured is told as Crush tells it before the first file is opened: not started.
"""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response

from crush_trio.errors import LSPClientNotFoundError
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.config import LSPConfig
from crush_trio.wire.lsp import DISABLED, UNSTARTED, LSPClientInfo, StartLSP
from crush_trio.workspaces import WorkspaceHost


def states(configured: dict[str, LSPConfig]) -> dict[str, LSPClientInfo]:
    """Return the states of the configured servers, by name."""
    return {
        name: LSPClientInfo(name=name, state=DISABLED if entry.disabled else UNSTARTED)
        for name, entry in sorted(configured.items())
    }


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of language servers."""
    routes = Blueprint("lsp", __name__, url_prefix="/v1/workspaces/<workspace_id>/lsps")

    @routes.get("")
    @operation("The language servers by name.", reply=dict[str, LSPClientInfo])
    async def index(workspace_id: str) -> Response:
        return answer(states(host.get(workspace_id).config.wire.lsp))

    @routes.get("/<name>/diagnostics")
    @operation("What a language server says of documents.", reply=dict[str, Any])
    async def diagnostics(workspace_id: str, name: str) -> Response:  # noqa: ARG001
        """Refuse: no language server has this name. Clients take it for no diagnostics (R-27)."""
        host.get(workspace_id)
        raise LSPClientNotFoundError

    @routes.post("/start")
    @operation("Start what handles a file.", body=StartLSP)
    async def start(workspace_id: str) -> Response:
        """Start what handles a file, which is nothing; that is no error (R-28)."""
        await read_body(StartLSP)
        host.get(workspace_id)
        return empty()

    @routes.post("/stop")
    @operation("Stop all language servers.")
    async def stop(workspace_id: str) -> Response:
        host.get(workspace_id)
        return empty()

    return routes
