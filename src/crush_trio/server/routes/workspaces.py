"""Workspaces: create, list, get, configuration, release, current session (R-06 to R-12)."""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response, request

from crush_trio import __version__
from crush_trio.errors import BadRequestError, ClientNotAttachedError
from crush_trio.server.body import read_body
from crush_trio.server.client_ids import body_client, query_client
from crush_trio.server.openapi import operation
from crush_trio.server.openapi.operations import CLIENT_ID
from crush_trio.server.problems import answer, empty
from crush_trio.wire.config import Config
from crush_trio.wire.sessions import CurrentSession
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.wire.workspaces import Workspace as WireWorkspace
from crush_trio.workspaces import Workspace, WorkspaceHost

EVENTS = {
    **CLIENT_ID,
    "ids": "`1` numbers the events, and begins the stream with a `hello`.",
    "after": "Go on behind the event with this id.",
    "deltas": "`1` sends what is new in a message instead of all of it.",
}
"""The query of an event stream."""


def told(workspace: Workspace) -> WireWorkspace:
    """Return a workspace as its clients know it: the first creator's wishes, the present config."""
    wanted = workspace.plan.request
    config = workspace.config.wire
    return WireWorkspace(
        id=workspace.id,
        path=wanted.path,
        yolo=wanted.yolo or msgspec.UNSET,
        debug=config.given_options.debug or msgspec.UNSET,
        data_dir=str(workspace.config.data_dir),
        version=__version__,
        config=config,
        env=wanted.env or msgspec.UNSET,
        channels=wanted.channels or msgspec.UNSET,
        skills=workspace.skills.states,
    )


def _check_texts(wanted: CreateWorkspace) -> None:
    """Refuse texts that no path and no environment can hold (C4).

    Raises:
        BadRequestError: one of them has a NUL character.
    """
    texts = {"data_dir": wanted.data_dir}
    texts |= {f"env[{index}]": entry for index, entry in enumerate(wanted.env or ())}
    for name, text in texts.items():
        if "\0" in text:
            raise BadRequestError(f"{name} holds a NUL character")


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of workspaces as a whole."""
    routes = Blueprint("workspaces", __name__, url_prefix="/v1/workspaces")

    @routes.get("")
    @operation("The open workspaces.", reply=list[WireWorkspace])
    async def index() -> Response:
        return answer([told(workspace) for workspace in host.workspaces])

    @routes.post("")
    @operation("Open a workspace, or join it.", body=CreateWorkspace, reply=WireWorkspace)
    async def create() -> Response:
        wanted = await read_body(CreateWorkspace)
        if not wanted.path:
            raise BadRequestError("path is required")
        client = body_client(wanted.client_id)
        _check_texts(wanted)
        return answer(told(await host.open(wanted, client)))

    @routes.get("/<workspace_id>")
    @operation("A workspace with its present configuration.", reply=WireWorkspace)
    async def get(workspace_id: str) -> Response:
        return answer(told(host.get(workspace_id)))

    @routes.get("/<workspace_id>/config")
    @operation("The present configuration.", reply=Config)
    async def config(workspace_id: str) -> Response:
        return answer(host.get(workspace_id).config.wire)

    @routes.delete("/<workspace_id>")
    @operation("Give up a client's claim.", query=CLIENT_ID)
    async def release(workspace_id: str) -> Response:
        client = query_client(request.args.get("client_id", ""))
        host.release(workspace_id, client)
        return empty()

    @routes.post("/<workspace_id>/current-session")
    @operation("Say which session a client shows.", body=CurrentSession, query=CLIENT_ID)
    async def current_session(workspace_id: str) -> Response:
        client = query_client(request.args.get("client_id", ""))
        shown = await read_body(CurrentSession)
        if not host.get(workspace_id).claims.show(client, shown.session_id):
            raise ClientNotAttachedError
        return empty()

    @routes.get("/<workspace_id>/events")
    @operation("Events as they happen.", kind="text/event-stream", query=EVENTS)
    async def events_head(workspace_id: str) -> Response:
        """Answer a ``HEAD``; a ``GET`` never comes here, ``server.events`` has it."""
        query_client(request.args.get("client_id", ""))
        host.get(workspace_id)
        response = empty()
        response.headers["Content-Type"] = "text/event-stream"
        response.headers["Cache-Control"] = "no-cache"
        return response

    return routes
