"""``bash``: run a shell command, here or in the background (agent contract 2.4)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from crush_trio.errors import BadRequestError
from crush_trio.tools.arguments import required
from crush_trio.tools.attribution import attribution_rules
from crush_trio.tools.base import ToolAnswer, ToolContext, denied
from crush_trio.tools.blocked import BANNED, Rail
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.files import absolute, is_directory, is_inside
from crush_trio.tools.jobs import Job
from crush_trio.tools.output import compose, shorten, with_place
from crush_trio.tools.processes import quiet_environment
from crush_trio.tools.safety import is_safe
from crush_trio.wire.config import Attribution

AUTO_BACKGROUND = 60
"""Seconds after which a command moves to the background by itself (agent contract 2.4)."""

FAST_FAIL = 1.0
"""Seconds that a background command is watched for an early end (agent contract 2.4)."""

_HINT = "Read its output with job_output; end it with job_kill."
_OWN = {"CRUSH": "1", "AGENT": "crush", "AI_AGENT": "crush"}
_NOT_INHERITED = {"HERDR_ENV", "HERDR_SOCKET_PATH", "HERDR_PANE_ID"}


class BashParams(msgspec.Struct, frozen=True):
    """Parameters of ``bash``."""

    description: Annotated[str, msgspec.Meta(description="What it does, in a few words")]
    command: Annotated[str, msgspec.Meta(description="The command to run")]
    working_dir: Annotated[
        str, msgspec.Meta(description="Where to run it; the workspace if not given")
    ] = ""
    run_in_background: Annotated[
        bool, msgspec.Meta(description="Run it as a background shell from the start")
    ] = False
    auto_background_after: Annotated[
        int, msgspec.Meta(description="Seconds until it moves to the background, 60 if not given")
    ] = 0


class Bash(Builtin[BashParams]):
    """Runs commands; asks, unless they only read.

    Args:
        attribution: How commits name the agent; None for the defaults.
        model_id: The model that commits name.
    """

    name = "bash"
    params = BashParams

    def __init__(self, attribution: Attribution | None = None, model_id: str = "") -> None:
        self._attribution = attribution_rules(attribution, model_id)
        self._rail = Rail()
        super().__init__()

    def describe(self, text: str) -> str:
        """Fill in what is banned, which programs there are and how commits are signed."""
        present = [name for name in ("rg", "gh") if shutil.which(name)]
        programs = f"These programs are installed: {', '.join(present)}." if present else ""
        return (
            text.replace("{banned}", " ".join(sorted(BANNED)))
            .replace("{programs}", programs)
            .replace("{attribution}", self._attribution)
        )

    async def call(self, params: BashParams, context: ToolContext) -> ToolAnswer:
        """Check, ask, run, and answer with the output or with the ID of a background shell."""
        required(command=params.command.strip())
        call = _Call(params, context)
        if blocked := self._rail.blocked(params.command):
            refusal = f"command is not allowed for security reasons: {blocked!r}"
            return call.answer(compose("", refusal, status=1))
        if not is_directory(call.working_dir):
            raise BadRequestError(f"working directory does not exist: {call.working_dir}")
        if not call.is_safe() and not await call.permitted(self.name):
            return denied()
        return await call.run()


class _Call:
    """One command on its way."""

    def __init__(self, params: BashParams, context: ToolContext) -> None:
        self.working_dir = absolute(params.working_dir or ".", context.around.working_dir)
        self._params = params
        self._context = context
        self._begun = context.around.now()

    def is_safe(self) -> bool:
        """Whether nobody needs to be asked: a reading command, in the workspace."""
        inside = is_inside(self.working_dir, self._context.around.working_dir)
        return inside and is_safe(self._params.command)

    async def permitted(self, tool_name: str) -> bool:
        """Ask."""
        return await self._context.around.permissions.ask(
            session_id=self._context.session_id,
            tool_call_id=self._context.tool_call_id,
            tool_name=tool_name,
            action="execute",
            description=f"Execute command: {self._params.command}",
            params=msgspec.to_builtins(self._params),
            path=self.working_dir,
        )

    async def run(self) -> ToolAnswer:
        """Run the command as a job of the workspace and wait for it as long as is asked for."""
        params, jobs = self._params, self._context.around.jobs
        self._begun = self._context.around.now()
        job = jobs.start(
            params.command,
            description=params.description,
            working_dir=self.working_dir,
            env=_environment(self._context.around.env),
        )
        after = params.auto_background_after
        patience = float(after if after > 0 else AUTO_BACKGROUND)
        if await jobs.wait(job, FAST_FAIL if params.run_in_background else patience):
            return self._finished(job)
        if params.run_in_background:
            return self._in_background(job, f"Background shell started with ID: {job.id}")
        moved = "The command takes long and has been moved to the background."
        return self._in_background(job, f"{moved}\n\nBackground shell ID: {job.id}")

    def _finished(self, job: Job) -> ToolAnswer:
        if job.error:
            raise BadRequestError(f"command cannot be run: {job.error}")
        stdout, stderr = shorten(job.stdout.text()), shorten(job.stderr.text())
        return self.answer(compose(stdout, stderr, status=job.exit_status))

    def _in_background(self, job: Job, text: str) -> ToolAnswer:
        metadata = self._metadata("") | {"background": True, "shell_id": job.id}
        return ToolAnswer(f"{text}\n\n{_HINT}", metadata=metadata)

    def answer(self, output: str) -> ToolAnswer:
        """Return the answer of a command that is over; a failed one is no error."""
        content = with_place(output, self.working_dir)
        return ToolAnswer(content, metadata=self._metadata(output))

    def _metadata(self, output: str) -> dict[str, Any]:
        return {
            "start_time": int(self._begun * 1000),
            "end_time": int(self._context.around.now() * 1000),
            "output": output,
            "description": self._params.description,
            "working_directory": self.working_dir,
        }


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: ours, marked as an agent's, without dialogs."""
    kept = {name: value for name, value in env.items() if name not in _NOT_INHERITED}
    return quiet_environment(kept | _OWN)
