"""What holds for the real shell and for the scripted one: the contract of the seam."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from crush_trio.tools.capture import Capture
from crush_trio.tools.processes import Shell, run_shell
from crush_trio.tools.scripted import SLEEP_FOREVER, Script, ScriptedShell
from limits_kit import REAL_LIMIT

SCRIPTS = {
    "echo out; echo err >&2; exit 3": Script(stdout="out\n", stderr="err\n", status=3),
    "sleep 0.01": Script(seconds=0.01),
    "sleep 300": SLEEP_FOREVER,
    "trap '' INT TERM; while :; do sleep 300; done": Script(seconds=300, stubborn=True),
}


@pytest.fixture(params=["real", "scripted"])
def shell(request: pytest.FixtureRequest) -> Shell:
    return run_shell if request.param == "real" else ScriptedShell(SCRIPTS)


async def run(shell: Shell, command: str, directory: Path) -> tuple[int, str, str]:
    out, err = Capture(), Capture()
    status = await shell(
        command, working_dir=str(directory), env=os.environ, stdout=out, stderr=err, grace=0.1
    )
    return status, out.text().head, err.text().head


async def test_a_shell_reports_output_and_status(shell: Shell, tmp_path: Path) -> None:
    """Both streams and the exit status."""
    with trio.fail_after(REAL_LIMIT):
        assert await run(shell, "echo out; echo err >&2; exit 3", tmp_path) == (3, "out\n", "err\n")
        assert await run(shell, "sleep 0.01", tmp_path) == (0, "", "")


async def test_a_shell_does_not_find_what_is_not_there(shell: Shell, tmp_path: Path) -> None:
    """Status 127 and a message that names the command."""
    with trio.fail_after(REAL_LIMIT):
        status, out, err = await run(shell, "no-such-command", tmp_path)
    assert (status, out) == (127, "")
    assert "no-such-command: command not found" in err


@pytest.mark.parametrize("command", ["sleep 300", "trap '' INT TERM; while :; do sleep 300; done"])
async def test_a_cancel_ends_a_command(shell: Shell, tmp_path: Path, command: str) -> None:
    """At once, or after the grace when it does not go by itself."""
    with trio.fail_after(REAL_LIMIT):
        with trio.move_on_after(0.05) as scope:
            await run(shell, command, tmp_path)
    assert scope.cancelled_caught
    assert not isinstance(shell, ScriptedShell) or shell.running == []
