"""``job_kill``: end a background shell (agent contract 2.5)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.job_output import find_job, job_metadata


class JobKillParams(msgspec.Struct, frozen=True):
    """Parameters of ``job_kill``."""

    shell_id: Annotated[str, msgspec.Meta(description="ID of the background shell")]


class JobKill(Builtin[JobKillParams]):
    """Ends a background shell and forgets it."""

    name = "job_kill"
    params = JobKillParams

    async def call(self, params: JobKillParams, context: ToolContext) -> ToolAnswer:
        """Answer when its processes are gone."""
        job = find_job(context.around.jobs, params.shell_id)
        await context.around.jobs.kill(job)
        content = f"Background shell {job.id} terminated successfully"
        return ToolAnswer(content, metadata=job_metadata(job))
