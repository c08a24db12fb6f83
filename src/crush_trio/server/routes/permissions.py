"""Permissions: who may answer, and whether anybody is asked (R-30 to R-32)."""

from __future__ import annotations

from typing import cast

from quart import Blueprint, Response

from crush_trio.errors import BadRequestError
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.permissions import GrantAction, PermissionGrant, Resolved, Skip
from crush_trio.workspaces import WorkspaceHost

ACTIONS = frozenset({"allow", "allow_session", "deny"})
"""What a permission request may be answered with (wire contract R-32)."""


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of permissions."""
    routes = Blueprint(
        "permissions", __name__, url_prefix="/v1/workspaces/<workspace_id>/permissions"
    )

    @routes.get("/skip")
    @operation("Whether everything is granted unasked.", reply=Skip)
    async def skipped(workspace_id: str) -> Response:
        return answer(Skip(host.get(workspace_id).permissions.skip))

    @routes.post("/skip")
    @operation("Grant everything unasked, or no more.", body=Skip)
    async def skip(workspace_id: str) -> Response:
        wanted = await read_body(Skip)
        host.get(workspace_id).permissions.skip = wanted.skip
        return empty()

    @routes.post("/grant")
    @operation("Answer a permission request.", body=PermissionGrant, reply=Resolved)
    async def grant(workspace_id: str) -> Response:
        """Answer a request; only its id counts, and only the first answer (D1)."""
        wanted = await read_body(PermissionGrant)
        workspace = host.get(workspace_id)
        if wanted.action not in ACTIONS:
            raise BadRequestError("invalid permission action")
        if wanted.permission is None:
            raise BadRequestError("permission is missing")
        action = cast("GrantAction", wanted.action)
        return answer(Resolved(workspace.permissions.answer(wanted.permission.id, action)))

    return routes
