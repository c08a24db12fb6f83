"""The routes: one blueprint a noun, each made for a workspace host.

A handler decodes, finds its workspace, makes one call and encodes. Nothing that must live longer
than the request is started here. One thing comes before every handler below a workspace: if the
workspace has not been opened since a restart, it is opened now, so that handlers need not know.
"""

from __future__ import annotations

from quart import Blueprint, request

from crush_trio.server.identity import Identity
from crush_trio.server.routes import (
    agent,
    api,
    configuration,
    files,
    lsp,
    mcp,
    permissions,
    project,
    questions,
    runs,
    server,
    sessions,
    skills,
    workspaces,
)
from crush_trio.workspaces import WorkspaceHost

GOODBYE = "workspaces.release"
"""The handler that needs no open workspace: nothing is opened only to be closed."""


def blueprints(host: WorkspaceHost, identity: Identity) -> list[Blueprint]:
    """Return all routes below ``/v1``."""
    nouns = (
        workspaces,
        sessions,
        agent,
        runs,
        permissions,
        questions,
        files,
        project,
        skills,
        lsp,
        mcp,
        configuration,
        api,
    )
    made = [server.blueprint(host, identity), *(noun.blueprint(host) for noun in nouns)]

    async def reopen() -> None:
        workspace_id = (request.view_args or {}).get("workspace_id")
        if workspace_id is not None and request.endpoint != GOODBYE:
            await host.reopen(workspace_id)
            host.enter_log(workspace_id)

    for routes in made:
        routes.before_request(reopen)
    return made
