"""Skills (R-57 and R-58)."""

from __future__ import annotations

import trio
from quart import Blueprint, Response

from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer
from crush_trio.wire.skills import ReadSkill, SkillContent, SkillInfo
from crush_trio.workspaces import WorkspaceHost


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of skills."""
    routes = Blueprint("skills", __name__, url_prefix="/v1/workspaces/<workspace_id>/skills")

    @routes.get("")
    @operation("The skills that can be used.", reply=tuple[SkillInfo, ...])
    async def index(workspace_id: str) -> Response:
        return answer([skill.info for skill in host.get(workspace_id).skills.usable])

    @routes.post("/read")
    @operation("A skill with its content.", body=ReadSkill, reply=SkillContent)
    async def read(workspace_id: str) -> Response:
        wanted = await read_body(ReadSkill)
        skills = host.get(workspace_id).skills
        return answer(await trio.to_thread.run_sync(skills.read, wanted.skill_id))

    return routes
