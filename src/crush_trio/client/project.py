"""The project in a workspace's directory, and the skills for it, from the client's side."""

from __future__ import annotations

from crush_trio.client.transport import Transport
from crush_trio.wire.project import InitPrompt, NeedsInit
from crush_trio.wire.skills import ReadSkill, SkillContent, SkillInfo


class ProjectClient:
    """A project. Use ``WorkspaceClient.project``; methods raise as those of ``WorkspaceClient``."""

    def __init__(self, transport: Transport, workspace_path: str) -> None:
        self._transport = transport
        self._path = f"{workspace_path}/project"
        self._skills_path = f"{workspace_path}/skills"

    async def needs_init(self) -> bool:
        """Return whether the user should be asked to introduce the project to the agent."""
        answer = await self._transport.call("GET", f"{self._path}/needs-init")
        return answer.decode(NeedsInit).needs_init

    async def mark_asked(self) -> None:
        """Remember that the user has been asked."""
        await self._transport.call("POST", f"{self._path}/init")

    async def init_prompt(self) -> str:
        """Return the prompt that lets the agent describe the project for itself."""
        answer = await self._transport.call("GET", f"{self._path}/init-prompt")
        return answer.decode(InitPrompt).prompt

    async def skills(self) -> list[SkillInfo]:
        """Return the skills that can be used."""
        return (await self._transport.call("GET", self._skills_path)).decode_list(SkillInfo)

    async def read_skill(self, skill_id: str) -> SkillContent:
        """Return a skill with its content."""
        body = ReadSkill(skill_id)
        answer = await self._transport.call("POST", f"{self._skills_path}/read", body=body)
        return answer.decode(SkillContent)
