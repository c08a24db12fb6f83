"""Background shells of a workspace: what runs, what it has said, and who may end it.

Above it are the tools ``bash``, ``job_output`` and ``job_kill``; below it the processes. Every
command of ``bash`` is a job from its start. As long as the call that started it waits, the job
belongs to the run: :meth:`Jobs.wait` kills it when the run is cancelled (R11). Once the call has
answered, it belongs to the workspace, and ends with it (W5).

Synopsis::

    async with open_jobs(settings) as jobs:
        job = jobs.start("make", description="Build", working_dir="/p", env=env)
        if not await jobs.wait(job, 60):
            ...  # still running, now in the background
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from crush_trio.errors import ConflictError, WorkspaceClosingError, error_text
from crush_trio.settings import Settings
from crush_trio.tools.capture import Capture
from crush_trio.tools.processes import DRAIN, KILL_TIMEOUT, Shell, run_shell

MAX_JOBS = 50
"""Jobs that a table holds, finished ones included (agent contract 2.5)."""

KEPT = 8 * 3600.0
"""Seconds that a finished job can still be looked at (agent contract 2.5)."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Job:
    """One shell command and what has become of it.

    Attributes:
        id: What the model calls it.
        exit_status: The shell's exit status; None while it runs, and if it was ended by us.
        error: Why it could not be started, or empty.
        finished: Set when its processes are gone.
    """

    id: str
    command: str
    description: str
    working_dir: str
    stdout: Capture = attrs.field(factory=Capture, init=False)
    stderr: Capture = attrs.field(factory=Capture, init=False)
    exit_status: int | None = attrs.field(default=None, init=False)
    error: str = attrs.field(default="", init=False)
    finished: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _finished_at: float = attrs.field(default=0.0, init=False)

    def cancel(self, reason: str) -> None:
        """Begin to end it; ``finished`` tells when that is done. Not a checkpoint."""
        self._scope.cancel(reason)

    def expired(self, now: float) -> bool:
        """Whether it finished so long ago that it is forgotten."""
        return self.finished.is_set() and now - self._finished_at > KEPT

    async def run(self, shell: Shell, env: Mapping[str, str], grace: float) -> None:
        """Run the command; whatever happens, ``finished`` is set in the end."""
        try:
            with self._scope:
                self.exit_status = await shell(
                    self.command,
                    working_dir=self.working_dir,
                    env=env,
                    stdout=self.stdout,
                    stderr=self.stderr,
                    grace=grace,
                )
        except* Exception as group:  # noqa: BLE001 - C3: a failure stays in its job
            self.error = error_text(group)
            _log.warning("shell job %s failed: %s", self.id, self.error)
        finally:
            self._finished_at = trio.current_time()
            self.finished.set()


class Jobs:
    """The jobs of one workspace; made by :func:`open_jobs`."""

    def __init__(self, nursery: trio.Nursery, settings: Settings, shell: Shell) -> None:
        self._nursery = nursery
        self._settings = settings
        self._shell = shell
        self._jobs: dict[str, Job] = {}
        self._last = 0
        self._closing = False

    def __repr__(self) -> str:
        return f"<Jobs {list(self._jobs)}>"

    def start(
        self, command: str, *, description: str, working_dir: str, env: Mapping[str, str]
    ) -> Job:
        """Start a command and return its job. Not a checkpoint.

        Raises:
            ConflictError: the table is full.
            WorkspaceClosingError: the owner of the table is leaving.
        """
        if self._closing:
            raise WorkspaceClosingError
        now = trio.current_time()
        self._jobs = {id_: job for id_, job in self._jobs.items() if not job.expired(now)}
        if len(self._jobs) >= MAX_JOBS:
            raise ConflictError(
                f"there are {MAX_JOBS} background shells already; end some with job_kill"
            )
        self._last += 1
        job = Job(f"{self._last:03X}", command, description, working_dir)
        self._jobs[job.id] = job
        grace = self._settings.kill_grace
        self._nursery.start_soon(job.run, self._shell, env, grace, name=f"job {job.id}")
        return job

    def get(self, job_id: str) -> Job | None:
        """Return a job of the table."""
        return self._jobs.get(job_id)

    def all(self) -> list[Job]:
        """Return the jobs that the table holds, finished ones included."""
        return list(self._jobs.values())

    def remove(self, job: Job) -> None:
        """Forget a job. Not a checkpoint."""
        self._jobs.pop(job.id, None)

    async def wait(self, job: Job, seconds: float) -> bool:
        """Wait for a job's end, at most ``seconds``; return whether it has ended.

        A job that has ended is taken out of the table. A cancel kills the job and passes when
        its processes are gone.
        """
        try:
            with trio.move_on_after(seconds):
                await job.finished.wait()
        except trio.Cancelled:
            bound = self._settings.kill_grace + DRAIN + 2 * KILL_TIMEOUT  # more than it can need
            with trio.move_on_after(bound, shield=True):
                await self.kill(job)
            raise
        if job.finished.is_set():
            self.remove(job)
        return job.finished.is_set()

    async def kill(self, job: Job) -> None:
        """End a job, wait until its processes are gone and forget it."""
        job.cancel("killed")
        await job.finished.wait()
        self.remove(job)

    def close(self) -> None:
        """Start no more jobs. Not a checkpoint."""
        self._closing = True


@asynccontextmanager
async def open_jobs(settings: Settings, *, shell: Shell = run_shell) -> AsyncGenerator[Jobs]:
    """Open a table of jobs; leaving the block kills them all and waits until they are gone."""
    async with trio.open_nursery() as nursery:
        jobs = Jobs(nursery, settings, shell)
        try:
            yield jobs
        finally:
            jobs.close()
            nursery.cancel_scope.cancel("workspace closing")
