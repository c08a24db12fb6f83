"""Shell commands as processes: real ones, in real time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.tools.capture import KEEP, Capture
from crush_trio.tools.processes import quiet_environment, run_shell
from limits_kit import REAL_LIMIT
from tools_kit import Ear, is_alive, open_ear


@attrs.define(eq=False)
class Command:
    """One command and what it wrote."""

    directory: Path
    grace: float = 0.3
    stdout: Capture = attrs.field(factory=Capture)
    stderr: Capture = attrs.field(factory=Capture)

    async def run(self, command: str) -> int:
        return await run_shell(
            command,
            working_dir=str(self.directory),
            env=os.environ,
            stdout=self.stdout,
            stderr=self.stderr,
            grace=self.grace,
        )


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
async def heard(tmp_path: Path) -> AsyncGenerator[Ear]:
    async with open_ear(tmp_path) as listening:
        yield listening


async def run_and_cancel(command: Command, script: str, heard: Ear, pids: int) -> list[int]:
    """Start a script, wait until it has said so many process numbers, cancel it."""
    with trio.fail_after(REAL_LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(command.run, script)
            found = [await heard.pid() for _ in range(pids)]
            assert all(is_alive(pid) for pid in found)
            nursery.cancel_scope.cancel("test")
    return found


async def test_a_command_reports_its_output_and_its_exit_status(command: Command) -> None:
    """Both streams are kept apart; a failing command is no exception."""
    with trio.fail_after(REAL_LIMIT):
        assert await command.run("echo out; echo err >&2; pwd; exit 3") == 3
    assert command.stdout.text().head == f"out\n{command.directory.resolve()}\n"
    assert command.stderr.text().head == "err\n"


async def test_a_command_has_empty_input_and_a_session_of_its_own(command: Command) -> None:
    """What reads its input finds the end of it; signals to the server's group do not reach it."""
    with trio.fail_after(REAL_LIMIT):
        assert await command.run(f"cat; {sys.executable} -c 'import os; print(os.getsid(0))'") == 0
    assert int(command.stdout.text().head) != os.getsid(0)


async def test_a_shell_that_died_of_a_signal_has_that_status_plus_128(command: Command) -> None:
    """As a shell itself would report it."""
    with trio.fail_after(REAL_LIMIT):
        assert await command.run("kill -9 $$") == 128 + signal.SIGKILL


async def test_what_cannot_be_started_says_so(command: Command) -> None:
    """A missing directory and a NUL character are errors of the operating system and of Python."""
    with trio.fail_after(REAL_LIMIT):
        with pytest.raises(ValueError, match="null byte"):
            await command.run("echo \0")
        command.directory /= "missing"
        with pytest.raises(FileNotFoundError):
            await command.run("true")


async def test_output_takes_bounded_memory(command: Command) -> None:
    """Beginning and end are kept, and the number of the lines between them."""
    with trio.fail_after(REAL_LIMIT):
        await command.run("seq 1000000")
    captured = command.stdout.text()
    assert captured.head.startswith("1\n2\n")
    assert captured.tail.endswith("999999\n1000000\n")
    assert len(captured.head) + len(captured.tail) <= 3 * KEEP
    assert captured.lost_lines is not None
    shown = captured.head.count("\n") + captured.tail.count("\n")
    assert shown + captured.lost_lines == 1_000_000


@pytest.mark.promise("R11")
@pytest.mark.parametrize(
    "script",
    [
        pytest.param("sh -c 'echo $$ > ear; exec sleep 300'; echo $$ > ear", id="foreground"),
        pytest.param("sleep 300 & echo $! > ear; wait", id="background"),
        pytest.param("set -m; sleep 300 & echo $! > ear; wait", id="job control"),
        pytest.param("timeout 300 sh -c 'echo $$ > ear; sleep 300'", id="group of its own"),
        pytest.param("sh -c 'sleep 300 & echo $! > ear; wait' | cat", id="pipeline"),
        pytest.param("(trap '' INT; echo $BASHPID > ear; sleep 300)", id="ignores SIGINT"),
        pytest.param(
            "trap '' INT TERM; sh -c 'echo $$ > ear; while :; do sleep 300; done'",
            id="ignores SIGINT and SIGTERM",
        ),
        pytest.param(
            "sh -c \"trap '' TERM; echo \\$\\$ > ear; while :; do sleep 300; done\" & wait",
            id="outlives the shell and ignores SIGTERM",
        ),
    ],
)
async def test_a_cancelled_command_leaves_no_process(
    command: Command, heard: Ear, script: str
) -> None:
    """When the cancel has passed, children and grandchildren are gone, stubborn ones killed."""
    (pid,) = await run_and_cancel(command, script, heard, 1)
    assert not is_alive(pid)


@pytest.mark.promise("R11")
async def test_a_cancelled_command_may_clean_up(command: Command, heard: Ear) -> None:
    """SIGINT comes first, and the grace is there to be used."""
    command.grace = 4.0
    script = "trap 'echo bye > last; exit' INT; echo $$ > ear; while :; do sleep 0.01; done"
    await run_and_cancel(command, script, heard, 1)
    assert (command.directory / "last").read_text() == "bye\n"


async def test_a_grandchild_that_holds_the_pipe_does_not_hold_up_the_end(
    command: Command, heard: Ear
) -> None:
    """The end of a command is the end of its shell; what it left behind goes with it (W5)."""
    with trio.fail_after(REAL_LIMIT):
        assert await command.run("sleep 300 & echo $! > ear; echo done") == 0
        assert not is_alive(await heard.pid())
    assert command.stdout.text().head == "done\n"


async def test_a_substituted_process_may_finish_its_output(
    mock_clock: MockClock, command: Command
) -> None:
    """A shell does not wait for ``>(...)``, so its output comes after the shell's exit. The time that
    it has passes slowly here, so that a busy machine is no reason to miss it."""
    mock_clock.rate = 0.01
    with trio.fail_after(REAL_LIMIT * mock_clock.rate):
        await command.run("echo word > >(sleep 0.05; cat)")
    assert command.stdout.text().head == "word\n"


async def test_a_daemon_gets_away_but_does_not_hold_up_the_end(
    command: Command, heard: Ear
) -> None:
    """Who starts a session of its own is no process of the command any more."""
    script = "setsid sh -c 'echo $$ > ear; exec sleep 300' & echo started"
    with trio.fail_after(REAL_LIMIT):
        assert await command.run(script) == 0
        pid = await heard.pid()
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.promise("W5")
async def test_commands_leave_no_file_descriptor(command: Command, heard: Ear) -> None:
    """Neither an end nor a cancel leaves one open."""
    with trio.fail_after(REAL_LIMIT):
        await command.run("true")  # opens what the process keeps
        before = open_files()
        await command.run("echo out; sleep 300 &")
    await run_and_cancel(command, "echo $$ > ear; sleep 300", heard, 1)
    assert open_files() == before


def open_files() -> list[str]:
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


def test_the_quiet_environment_has_no_editor_and_no_pager() -> None:
    """Nothing may wait for a person; what is not about that stays."""
    env = quiet_environment({"PAGER": "less", "HOME": "/h"})
    assert env["PAGER"] == env["GIT_PAGER"] == env["JJ_PAGER"] == "cat"
    assert env["EDITOR"] == env["VISUAL"] == env["GIT_EDITOR"] == env["JJ_EDITOR"] == "false"
    assert (env["TERM"], env["HOME"]) == ("xterm-256color", "/h")
