"""The agent of a workspace and its sessions' busy state (R-35, R-37 to R-39, R-46)."""

from __future__ import annotations

from quart import Blueprint, Response, request

from crush_trio.ids import SessionID
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.config import SelectedModel
from crush_trio.wire.runs import AgentInfo, AgentInit, AgentSession
from crush_trio.workspaces import WorkspaceHost


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of the agent."""
    routes = Blueprint("agent", __name__, url_prefix="/v1/workspaces/<workspace_id>/agent")

    @routes.get("")
    @operation("State and model of the agent.", reply=AgentInfo)
    async def info(workspace_id: str) -> Response:
        return answer(host.get(workspace_id).agent_info())

    @routes.post("/init")
    @operation("Build the agent anew.", body=AgentInit, body_optional=True)
    async def init(workspace_id: str) -> Response:
        """Build the agent anew; the body is read only if a length announces one (R-37)."""
        wanted = await read_body(AgentInit) if request.content_length else AgentInit()
        await host.get(workspace_id).agent_setup.init(interactive=wanted.interactive)
        return empty()

    @routes.post("/update")
    @operation("Let the agent read the configuration again.")
    async def update(workspace_id: str) -> Response:
        await host.get(workspace_id).agent_setup.update()
        return empty()

    @routes.get("/default-small-model")
    @operation(
        "Tell the small model that goes with a provider.",
        query={"provider_id": "The provider."},
        reply=SelectedModel,
    )
    async def default_small_model(workspace_id: str) -> Response:
        wanted = request.args.get("provider_id", "")
        return answer(host.get(workspace_id).config.default_small_model(wanted))

    @routes.get("/sessions/<session_id>")
    @operation("A session, and whether it is busy.", reply=AgentSession)
    async def session(workspace_id: str, session_id: str) -> Response:
        workspace = host.get(workspace_id)
        found = await workspace.sessions.get(SessionID(session_id))
        busy = workspace.data.busy(SessionID(session_id))
        return answer(AgentSession(found.id, title=found.title, is_busy=busy))

    return routes
