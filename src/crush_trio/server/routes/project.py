"""Whether a project is to be introduced to the agent (R-54 to R-56)."""

from __future__ import annotations

import trio
from quart import Blueprint, Response

from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.project import InitPrompt, NeedsInit
from crush_trio.workspaces import WorkspaceHost
from crush_trio.workspaces.project import init_prompt, mark_asked, needs_init


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of the project."""
    routes = Blueprint("project", __name__, url_prefix="/v1/workspaces/<workspace_id>/project")

    @routes.get("/needs-init")
    @operation("Whether the user should be asked to introduce the project.", reply=NeedsInit)
    async def needs(workspace_id: str) -> Response:
        workspace = host.get(workspace_id)
        directory, data_dir = workspace.plan.directory, workspace.config.data_dir
        return answer(NeedsInit(await trio.to_thread.run_sync(needs_init, directory, data_dir)))

    @routes.post("/init")
    @operation("Remember that the user has been asked.")
    async def init(workspace_id: str) -> Response:
        """Remember that the user has been asked, and let clients look again (R-55)."""
        workspace = host.get(workspace_id)
        await trio.to_thread.run_sync(mark_asked, workspace.config.data_dir)
        workspace.tell_config_changed()
        return empty()

    @routes.get("/init-prompt")
    @operation("The prompt that lets the agent describe the project.", reply=InitPrompt)
    async def prompt(workspace_id: str) -> Response:
        options = host.get(workspace_id).config.wire.given_options
        return answer(InitPrompt(init_prompt(options.initialize_as)))

    return routes
