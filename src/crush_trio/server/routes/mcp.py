"""MCP servers (R-59 to R-70): there is no client for them yet, and that is what clients are told.

Where Crush checks no workspace, neither do we.
"""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response, request

from crush_trio.errors import BadRequestError, WorkspaceNotFoundError
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.mcp import (
    AuthURL,
    GetPrompt,
    MCPClientInfo,
    MCPName,
    MCPPrompt,
    PendingAuth,
    PromptText,
    ReadResource,
    ResourceContents,
)
from crush_trio.workspaces import Workspace, WorkspaceHost
from crush_trio.workspaces.mcp_states import NO_CLIENT, mcp_states

NAME = {"name": "The MCP server's name."}
"""The query of the route that asks where to log in."""

USER_SCOPE = 0
"""The scope of the user's own configuration (wire contract 4.7)."""


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of MCP servers."""
    routes = Blueprint("mcp", __name__, url_prefix="/v1/workspaces/<workspace_id>/mcp")
    _add_questions(routes, host)
    _add_actions(routes, host)
    return routes


def _add_questions(routes: Blueprint, host: WorkspaceHost) -> None:
    @routes.get("/states")
    @operation("The MCP servers by name.", reply=dict[str, MCPClientInfo])
    async def index(workspace_id: str) -> Response:
        """Answer the states; of an unknown workspace there are none (R-63)."""
        try:
            configured = host.get(workspace_id).config.wire.mcp
        except WorkspaceNotFoundError:
            configured = {}
        return answer(mcp_states(configured))

    @routes.get("/prompts")
    @operation("The prompts that MCP servers offer.", reply=tuple[MCPPrompt, ...])
    async def prompts(workspace_id: str) -> Response:
        host.get(workspace_id)
        return answer([])

    @routes.get("/pending-auth")
    @operation("The MCP servers that need a login.", reply=tuple[PendingAuth, ...])
    async def pending_auth(workspace_id: str) -> Response:
        host.get(workspace_id)
        return answer([])

    @routes.get("/auth-url")
    @operation("Where to log in to an MCP server, while it waits.", query=NAME, reply=AuthURL)
    async def auth_url(workspace_id: str) -> Response:  # noqa: ARG001
        if not request.args.get("name"):
            raise BadRequestError("name is required")
        return answer(AuthURL())

    @routes.post("/read-resource")
    @operation("Read an MCP resource.", body=ReadResource, reply=tuple[ResourceContents, ...])
    async def read_resource(workspace_id: str) -> Response:
        wanted = await read_body(ReadResource)
        raise _unavailable(host.get(workspace_id), wanted.name)

    @routes.post("/get-prompt")
    @operation("Fill in an MCP prompt.", body=GetPrompt, reply=PromptText)
    async def get_prompt(workspace_id: str) -> Response:
        wanted = await read_body(GetPrompt)
        raise _unavailable(host.get(workspace_id), wanted.client_id)


def _add_actions(routes: Blueprint, host: WorkspaceHost) -> None:
    @routes.post("/refresh-tools")
    @operation("Ask an MCP server for its tools again.", body=MCPName)
    async def refresh_tools(workspace_id: str) -> Response:
        await read_body(MCPName)
        host.get(workspace_id)
        return empty()

    @routes.post("/refresh-prompts")
    @operation("Ask an MCP server for its prompts again.", body=MCPName)
    async def refresh_prompts(workspace_id: str) -> Response:  # noqa: ARG001
        await read_body(MCPName)
        return empty()

    @routes.post("/refresh-resources")
    @operation("Ask an MCP server for its resources again.", body=MCPName)
    async def refresh_resources(workspace_id: str) -> Response:  # noqa: ARG001
        await read_body(MCPName)
        return empty()

    @routes.post("/auth")
    @operation("Log in to an MCP server.", body=MCPName, reply=dict[str, Any])
    async def auth(workspace_id: str) -> Response:
        """Refuse to log in to a server; the reason is the contract's as far as it fits (R-66)."""
        wanted = await read_body(MCPName)
        entry = host.get(workspace_id).config.wire.mcp.get(wanted.name)
        if entry is None:
            raise BadRequestError(f"mcp '{wanted.name}' not found in configuration")
        if entry.type != "http" or not entry.oauth:
            raise BadRequestError(f"mcp '{wanted.name}' does not use OAuth authentication")
        raise BadRequestError(f"mcp '{wanted.name}' cannot log in: {NO_CLIENT}")

    @routes.post("/docker/enable")
    @operation("Use Docker's MCP servers.")
    async def enable_docker(workspace_id: str) -> Response:
        host.get(workspace_id)
        raise BadRequestError(f"docker mcp is not available: {NO_CLIENT}")

    @routes.post("/docker/disable")
    @operation("Use Docker's MCP servers no more.")
    async def disable_docker(workspace_id: str) -> Response:
        """Take it out of the user's configuration, if it is there (R-70)."""
        workspace = host.get(workspace_id)
        if "docker" in workspace.config.wire.mcp:
            await workspace.configured.remove(USER_SCOPE, "mcp.docker")
        else:
            workspace.tell_config_changed()
        return empty()


def _unavailable(workspace: Workspace, name: str) -> BadRequestError:
    known = name in workspace.config.wire.mcp
    return BadRequestError(f"mcp '{name}' not available" + (f": {NO_CLIENT}" if known else ""))
