"""The table of background shells: whose they are, and when they end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from crush_trio.errors import ConflictError, WorkspaceClosingError
from crush_trio.settings import Settings
from crush_trio.tools.jobs import KEPT, MAX_JOBS, Job, Jobs, open_jobs
from crush_trio.tools.scripted import SLEEP_FOREVER, Script, ScriptedShell
from limits_kit import REAL_LIMIT
from tools_kit import is_alive, open_ear

SETTINGS = Settings(kill_grace=0.3)


def scripted() -> ScriptedShell:
    """Return a shell for virtual time."""
    stubborn = Script(seconds=1000, stubborn=True)
    return ScriptedShell(
        {"true": Script(), "sleep": SLEEP_FOREVER, "make": Script(seconds=90), "mule": stubborn}
    )


def start(jobs: Jobs, command: str, directory: Path | None = None) -> Job:
    return jobs.start(
        command, description="test", working_dir=str(directory or "/"), env=os.environ
    )


async def test_jobs_are_numbered_in_hexadecimal(autojump_clock: trio.testing.MockClock) -> None:
    """From 001 on; a number is never used again (agent contract 2.5)."""
    async with open_jobs(SETTINGS, shell=scripted()) as jobs:
        names: list[str] = []
        for _ in range(17):
            job = start(jobs, "true")
            assert await jobs.wait(job, 60)
            names.append(job.id)
    assert names[:2] == ["001", "002"]
    assert names[-2:] == ["010", "011"]


async def test_waiting_ends_with_the_job_or_with_patience(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A job that has ended is taken out of the table; another stays and can be found."""
    async with open_jobs(SETTINGS, shell=scripted()) as jobs:
        job = start(jobs, "make")
        begun = trio.current_time()
        assert not await jobs.wait(job, 60)
        assert trio.current_time() - begun == pytest.approx(60)
        assert jobs.get(job.id) is job
        assert await jobs.wait(job, 60)
        assert trio.current_time() - begun == pytest.approx(90)
        assert jobs.get(job.id) is None
        assert job.exit_status == 0


@pytest.mark.promise("R11")
@pytest.mark.parametrize("command", ["sleep", "mule"])
async def test_a_cancelled_wait_kills_its_job(
    autojump_clock: trio.testing.MockClock, command: str
) -> None:
    """A job whose call still waits belongs to the run; the cancel passes when it is gone."""
    shell = scripted()
    async with open_jobs(SETTINGS, shell=shell) as jobs:
        job = start(jobs, command)
        with trio.move_on_after(10) as scope:
            await jobs.wait(job, 60)
        assert scope.cancelled_caught
        assert job.finished.is_set()
        assert shell.running == []
        assert jobs.get(job.id) is None


@pytest.mark.promise("R11")
async def test_a_job_in_the_background_survives_the_cancel_of_its_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Once the call has answered, the job belongs to the workspace."""
    shell = scripted()
    async with open_jobs(SETTINGS, shell=shell) as jobs:
        job = start(jobs, "make")

        async def run() -> None:
            await jobs.wait(job, 60)
            await trio.sleep_forever()  # the rest of the run

        with trio.move_on_after(70):
            await run()
        assert shell.running == ["make"]
        await job.finished.wait()
        assert job.exit_status == 0


@pytest.mark.promise("W5")
async def test_jobs_die_with_their_owner(tmp_path: Path) -> None:
    """When the owner has closed, no process is left, one that ignores SIGINT included."""
    with trio.fail_after(REAL_LIMIT):
        async with open_ear(tmp_path) as ear:
            async with open_jobs(SETTINGS) as jobs:
                start(jobs, "echo $$ > ear; sleep 300", tmp_path)
                start(jobs, "trap '' INT TERM; echo $$ > ear; while :; do :; done", tmp_path)
                pids = [await ear.pid(), await ear.pid()]
                assert all(map(is_alive, pids))
            assert not any(map(is_alive, pids))


async def test_a_closing_table_starts_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Who asks too late is told so, and no task is left over."""
    async with open_jobs(SETTINGS, shell=scripted()) as jobs:
        pass
    with pytest.raises(WorkspaceClosingError):
        start(jobs, "true")


async def test_the_table_has_room_for_fifty(autojump_clock: trio.testing.MockClock) -> None:
    """The next one is refused; ending one makes room."""
    async with open_jobs(SETTINGS, shell=scripted()) as jobs:
        first = start(jobs, "sleep")
        for _ in range(MAX_JOBS - 1):
            start(jobs, "sleep")
        with pytest.raises(ConflictError, match="job_kill"):
            start(jobs, "sleep")
        await jobs.kill(first)
        assert start(jobs, "sleep").id == f"{MAX_JOBS + 1:03X}"


async def test_finished_jobs_are_kept_for_eight_hours(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Then the next start forgets them; a running one is never forgotten."""
    async with open_jobs(SETTINGS, shell=scripted()) as jobs:
        done, running = start(jobs, "true"), start(jobs, "sleep")
        await done.finished.wait()
        await trio.sleep(KEPT)
        start(jobs, "sleep")
        assert jobs.get(done.id) is done
        await trio.sleep(1)
        start(jobs, "sleep")
        assert jobs.get(done.id) is None
        assert jobs.get(running.id) is running


@pytest.mark.promise("C3")
async def test_a_job_that_cannot_start_fails_alone(tmp_path: Path) -> None:
    """The error is in the job; the table and its other jobs go on."""
    with trio.fail_after(REAL_LIMIT):
        async with open_jobs(SETTINGS) as jobs:
            broken = start(jobs, "true", tmp_path / "missing")
            assert await jobs.wait(broken, 5)
            assert "missing" in broken.error
            assert broken.exit_status is None
            fine = start(jobs, "true", tmp_path)
            assert await jobs.wait(fine, 5)
            assert fine.exit_status == 0
