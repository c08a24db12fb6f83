"""Sessions and their messages (R-14 to R-18, R-20 to R-22)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from quart import Blueprint, Response

from crush_trio.errors import BadRequestError
from crush_trio.ids import SessionID
from crush_trio.messages import Message
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.messages import WireMessage, wire_message
from crush_trio.wire.sessions import SaveSession, Session
from crush_trio.workspaces import Workspace, WorkspaceHost


def told(workspace: Workspace, session: Session) -> Session:
    """Return a session with what is computed for an answer: busy, and who shows it."""
    return msgspec.structs.replace(
        session,
        is_busy=workspace.data.busy(SessionID(session.id)),
        attached_clients=workspace.claims.showing(session.id),
    )


def _messages(found: Iterable[Message]) -> Response:
    return answer([wire_message(message) for message in found])


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of sessions."""
    routes = Blueprint("sessions", __name__, url_prefix="/v1/workspaces/<workspace_id>")

    @routes.get("/sessions")
    @operation("The sessions without their children, the last used first.", reply=list[Session])
    async def index(workspace_id: str) -> Response:
        workspace = host.get(workspace_id)
        found = await workspace.data.store.sessions()
        return answer([told(workspace, session) for session in found])

    @routes.post("/sessions")
    @operation("Create a session.", body=SaveSession, reply=Session)
    async def create(workspace_id: str) -> Response:
        wanted = await read_body(SaveSession)
        workspace = host.get(workspace_id)
        session = await workspace.data.store.create_session(wanted.title).wait()
        return answer(told(workspace, session))

    @routes.get("/sessions/<session_id>")
    @operation("One session.", reply=Session)
    async def get(workspace_id: str, session_id: str) -> Response:
        workspace = host.get(workspace_id)
        return answer(told(workspace, await workspace.sessions.get(SessionID(session_id))))

    @routes.put("/sessions/<session_id>")
    @operation("Rename a session; the body's id decides.", body=SaveSession, reply=Session)
    async def put(workspace_id: str, session_id: str) -> Response:  # noqa: ARG001
        """Rename; the body's id decides, token counters are kept (R-17)."""
        wanted = await read_body(SaveSession)
        workspace = host.get(workspace_id)
        if wanted.cost < 0:
            raise BadRequestError(f"cost must not be negative: {wanted.cost}")
        await workspace.sessions.get(SessionID(wanted.id))
        job = workspace.data.store.rename_session(
            SessionID(wanted.id), wanted.title, todos=wanted.todos, cost=wanted.cost
        )
        return answer(told(workspace, await job.wait()))

    @routes.delete("/sessions/<session_id>")
    @operation("Cancel a session's runs, then delete it.")
    async def delete(workspace_id: str, session_id: str) -> Response:
        await host.get(workspace_id).sessions.delete(SessionID(session_id))
        return empty()

    @routes.get("/sessions/<session_id>/messages")
    @operation("All messages of a session, oldest first.", reply=list[WireMessage])
    async def messages(workspace_id: str, session_id: str) -> Response:
        workspace = host.get(workspace_id)
        await workspace.sessions.flush(SessionID(session_id))
        return _messages(await workspace.data.store.messages(SessionID(session_id)))

    @routes.get("/sessions/<session_id>/messages/user")
    @operation("What users said in a session, newest first.", reply=list[WireMessage])
    async def user_messages(workspace_id: str, session_id: str) -> Response:
        store = host.get(workspace_id).data.store
        return _messages(await store.user_messages(SessionID(session_id)))

    @routes.get("/messages/user")
    @operation("What users said in all sessions, newest first.", reply=list[WireMessage])
    async def all_user_messages(workspace_id: str) -> Response:
        return _messages(await host.get(workspace_id).data.store.user_messages())

    return routes
