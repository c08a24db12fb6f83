"""``job_output``: what a background shell has written (agent contract 2.5)."""

from __future__ import annotations

from typing import Annotated

import msgspec
import trio

from crush_trio.errors import BadRequestError
from crush_trio.tools.arguments import required
from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.capture import Captured
from crush_trio.tools.jobs import Job, Jobs
from crush_trio.tools.output import ABORTED, NO_OUTPUT, shorten


class JobOutputParams(msgspec.Struct, frozen=True):
    """Parameters of ``job_output``."""

    shell_id: Annotated[str, msgspec.Meta(description="ID of the background shell")]
    wait: Annotated[bool, msgspec.Meta(description="Wait until it has finished")]


class JobOutput(Builtin[JobOutputParams]):
    """Shows all output of a background shell from its beginning."""

    name = "job_output"
    params = JobOutputParams

    async def call(self, params: JobOutputParams, context: ToolContext) -> ToolAnswer:
        """Answer with the output, at once or when the job has ended."""
        job = find_job(context.around.jobs, params.shell_id)
        if params.wait:
            await job.finished.wait()
        await trio.lowlevel.checkpoint()
        done = job.finished.is_set()
        content = f"Status: {'completed' if done else 'running'}\n\n{_output(job)}"
        metadata = job_metadata(job) | {"done": done, "working_directory": job.working_dir}
        return ToolAnswer(content, metadata=metadata)


def find_job(jobs: Jobs, shell_id: str) -> Job:
    """Return the job that a model names.

    Raises:
        BadRequestError: it names none, or one that is not there.
    """
    required(shell_id=shell_id)
    job = jobs.get(shell_id)
    if job is None:
        raise BadRequestError(f"background shell not found: {shell_id}")
    return job


def job_metadata(job: Job) -> dict[str, str | bool]:
    """Return what clients are told of a job (wire contract 6.11)."""
    return {"shell_id": job.id, "command": job.command, "description": job.description}


def _output(job: Job) -> str:
    """Return stdout, stderr and how it ended, as far as there is any of it."""
    parts = (shorten(job.stdout.text()), shorten(job.stderr.text()), _ending(job))
    return shorten(Captured("\n".join(part for part in parts if part))) or NO_OUTPUT


def _ending(job: Job) -> str:
    if job.error or not job.finished.is_set() or job.exit_status == 0:
        return job.error
    return ABORTED if job.exit_status is None else f"Exit code {job.exit_status}"
