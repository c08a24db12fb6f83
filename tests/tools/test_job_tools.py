"""``job_output`` and ``job_kill``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from crush_trio.tools.base import ToolAnswer
from crush_trio.tools.scripted import Script, ScriptedShell
from limits_kit import REAL_LIMIT
from tools_kit import Toolbox, is_alive, open_ear, open_toolbox

SHELL = {
    "serve": Script(stdout="ready\n", stderr="warning\n", seconds=100),
    "fail": Script(stdout="out\n", status=3, seconds=100),
    "quiet": Script(seconds=100),
    "long": Script(stdout="x" * 40_000, seconds=100),
}


async def start(box: Toolbox, command: str) -> dict[str, Any]:
    """Start a background shell; return the metadata of its answer."""
    answer = await box.call("bash", description="d", command=command, run_in_background=True)
    return dict(answer.metadata or {})


async def test_output_is_shown_from_the_beginning_while_it_runs(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Status, an empty line, both streams; no permission."""
    async with open_toolbox(tmp_path, shell=ScriptedShell(SHELL)) as box:
        started = await start(box, "serve")
        first = await box.call("job_output", shell_id=started["shell_id"], wait=False)
        again = await box.call("job_output", shell_id=started["shell_id"], wait=False)
    assert first == again
    assert first.content == "Status: running\n\nready\n\nwarning\n"
    assert first.metadata == {
        "shell_id": "001",
        "command": "serve",
        "description": "d",
        "done": False,
        "working_directory": str(tmp_path),
    }
    assert len(box.asked) == 1


@pytest.mark.parametrize(
    ("command", "content"),
    [
        ("fail", "Status: completed\n\nout\n\nExit code 3"),
        ("quiet", "Status: completed\n\nno output"),
    ],
)
async def test_waiting_lasts_until_the_end(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, command: str, content: str
) -> None:
    """And the shell can still be looked at afterwards."""
    async with open_toolbox(tmp_path, shell=ScriptedShell(SHELL)) as box:
        await start(box, command)
        waited = await box.call("job_output", shell_id="001", wait=True)
        assert trio.current_time() == pytest.approx(100)
        assert await box.call("job_output", shell_id="001", wait=False) == waited
    assert waited.content == content
    assert waited.metadata is not None
    assert waited.metadata["done"] is True


async def test_a_cancelled_wait_leaves_the_shell_alone(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The wait belongs to the run, the shell to the workspace (R11)."""
    shell = ScriptedShell(SHELL)
    async with open_toolbox(tmp_path, shell=shell) as box:
        await start(box, "serve")
        with trio.move_on_after(10) as scope:
            await box.call("job_output", shell_id="001", wait=True)
        assert scope.cancelled_caught
        assert shell.running == ["serve"]


async def test_long_output_is_cut_as_that_of_bash(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Its beginning and its end."""
    async with open_toolbox(tmp_path, shell=ScriptedShell(SHELL)) as box:
        await start(box, "long")
        answer = await box.call("job_output", shell_id="001", wait=False)
    assert "\n\n... [1 lines truncated] ...\n\n" in answer.content
    assert len(answer.content) < 31_000


async def test_killing_ends_all_processes_and_forgets_the_shell(tmp_path: Path) -> None:
    """When the answer is there, they are gone."""
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box, open_ear(tmp_path) as ear:
            command = "sleep 300 & echo $! > ear; wait"
            env = {"PATH": "/usr/bin:/bin"}
            box.jobs.start(command, description="d", working_dir=str(tmp_path), env=env)
            pid = await ear.pid()
            assert is_alive(pid)
            answer = await box.call("job_kill", shell_id="001")
            assert not is_alive(pid)
            again = await box.call("job_kill", shell_id="001")
    assert answer == ToolAnswer(
        "Background shell 001 terminated successfully",
        metadata={"shell_id": "001", "command": command, "description": "d"},
    )
    assert again == ToolAnswer("background shell not found: 001", is_error=True)


async def test_who_waits_for_a_killed_shell_is_told(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """It has ended, but not by itself."""
    answers: list[ToolAnswer] = []
    async with open_toolbox(tmp_path, shell=ScriptedShell(SHELL)) as box:
        await start(box, "quiet")

        async def wait() -> None:
            answers.append(await box.call("job_output", shell_id="001", wait=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            await box.call("job_kill", shell_id="001")
    assert answers[0].content == ("Status: completed\n\nCommand was aborted before completion")


@pytest.mark.parametrize("tool", ["job_output", "job_kill"])
@pytest.mark.parametrize(
    ("shell_id", "message"), [("", "shell_id is required"), ("0FF", "not found: 0FF")]
)
async def test_an_unknown_shell_is_an_error(
    tmp_path: Path, tool: str, shell_id: str, message: str
) -> None:
    """The model is told which."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call(tool, shell_id=shell_id, wait=False)
    assert answer.is_error
    assert message in answer.content
