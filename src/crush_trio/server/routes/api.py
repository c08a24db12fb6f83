"""The description of all routes, made of the table that serves them."""

from __future__ import annotations

from typing import Any, cast

from quart import Blueprint, Response, current_app
from quart_trio import QuartTrio

from crush_trio.server.openapi import make_document, operation
from crush_trio.server.problems import answer
from crush_trio.workspaces import WorkspaceHost


def blueprint(_: WorkspaceHost) -> Blueprint:
    """Return the route of the description. It is made at its first use and then kept."""
    routes = Blueprint("api", __name__, url_prefix="/v1")
    made: list[Response] = []

    @routes.get("/openapi.json")
    @operation("This description.", reply=dict[str, Any])
    async def openapi() -> Response:
        if not made:
            made.append(answer(make_document(cast("QuartTrio", current_app))))
        return made[0]

    return routes
