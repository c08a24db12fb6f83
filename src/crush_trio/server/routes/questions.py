"""Questions: who may answer (R-33 and R-34)."""

from __future__ import annotations

from quart import Blueprint, Response

from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer
from crush_trio.wire.permissions import Resolved
from crush_trio.wire.questions import QuestionAnswer
from crush_trio.workspaces import WorkspaceHost


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of questions."""
    routes = Blueprint("questions", __name__, url_prefix="/v1/workspaces/<workspace_id>/questions")

    @routes.post("/answer")
    @operation("Answer the open questions.", body=QuestionAnswer, reply=Resolved)
    async def give(workspace_id: str) -> Response:
        """Answer the open batch; only the first answer counts (D1)."""
        given = await read_body(QuestionAnswer)
        questions = host.get(workspace_id).questions
        resolved = questions.answer(given.responses or (), given.batch_request_id)
        return answer(Resolved(resolved))

    @routes.post("/cancel")
    @operation("Refuse to answer the open questions; their turn stops.", reply=Resolved)
    async def cancel(workspace_id: str) -> Response:
        """Refuse to answer the open batch; its turn stops."""
        return answer(Resolved(host.get(workspace_id).questions.refuse()))

    return routes
