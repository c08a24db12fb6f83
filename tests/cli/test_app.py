"""The command line's surface: help, bad input, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
import trio

from crush_trio.cli import main
from crush_trio.cli.exits import ExitCode, run_trio
from crush_trio.errors import BadRequestError, ServerUnavailableError
from limits_kit import PROCESS_LIMIT


def run_main(*args: str) -> int:
    """Return the exit code of one command."""
    with pytest.raises(SystemExit) as left:
        main(list(args))
    return int(left.value.code or 0)


def test_help_tells_the_commands_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit codes are documented where people look for them."""
    assert run_main("--help") == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("serve", "run", "watch", "sessions", "cancel", "models"))
    assert all(f" {code.value}  " in told for code in ExitCode)


@pytest.mark.parametrize(
    "args",
    [
        ("session", "ls", "--help"),
        ("session", "rm", "--help"),
        ("s", "show", "--help"),
        ("sessions", "rename", "--help"),
        ("r", "--help"),
    ],
)
def test_commands_have_crushs_short_names(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Fingers that know them need to learn nothing (agent contract 8.3)."""
    assert run_main(*args) == 0
    assert "Usage: crush-trio" in capsys.readouterr().out


def test_help_imports_nothing_slow() -> None:
    """Help must be there at once: the event loop, HTTP and the model SDKs are not needed for it."""
    code = (
        "import sys\n"
        "from crush_trio.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'trio', 'httpcore2', 'msgspec', 'quart', 'openai', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=PROCESS_LIMIT
    )
    assert done.stdout.splitlines()[-1] == b"[]"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run", "--host", "localhost:80", "x"], "address 'localhost:80' is not of the form"),
        (["run", "--host", "tcp://localhost", "x"], "address 'tcp://localhost' is not of the form"),
        (["run", "--session", "a", "--continue", "x"], "--session and --continue exclude"),
        (["run", " "], "there is no prompt"),
        (["run", "--cwd", "/nowhere", "x"], "'/nowhere' does not exist"),
        (["serve", "--idle-exit", "soon"], "'soon' is not a valid float"),
        (["serve", "--idle-exit", "-1"], "-1"),
        (["sing"], "No such command 'sing'"),
        (["watch", "--loud"], "No such option '--loud'"),
    ],
)
def test_bad_input_is_named_and_exits_with_2(
    capsys: pytest.CaptureFixture[str], args: list[str], told: str
) -> None:
    """C4 for the command line: the thing is named, and there is no traceback."""
    assert run_main(*args) == ExitCode.USAGE
    printed = capsys.readouterr().err
    assert told in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("command", [["sessions"], ["cancel"], ["watch"], ["run", "hello"]])
def test_no_server_over_tcp_exits_with_69(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Over TCP none is started: it might be meant to run on another machine."""
    assert run_main(*command, "--host", "tcp://127.0.0.1:1") == ExitCode.UNAVAILABLE
    assert "no server answers at tcp://127.0.0.1:1" in capsys.readouterr().err


def test_cancel_starts_no_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where none runs there is nothing to cancel."""
    host = f"unix://{tmp_path}/s.sock"
    assert run_main("cancel", "--host", host) == ExitCode.UNAVAILABLE
    assert "no server answers at unix://" in capsys.readouterr().err


def test_of_expected_errors_the_first_one_is_shown() -> None:
    """Nurseries make groups of errors; users see a message."""

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise BadRequestError("no such thing")

    async def command() -> ExitCode:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
        return ExitCode.OK

    with pytest.raises(BadRequestError, match="no such thing"):
        run_trio(command)


def test_a_defect_keeps_its_traceback() -> None:
    """An error that nobody expected must not be hidden behind one that was."""

    async def fail(error: Exception) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise error

    async def command() -> ExitCode:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, ServerUnavailableError("gone"))
            nursery.start_soon(fail, KeyError("defect"))
        return ExitCode.OK

    with pytest.RaisesGroup(ServerUnavailableError, KeyError):
        run_trio(command)


def test_ctrl_c_exits_with_130() -> None:
    """As shells have it for SIGINT."""

    async def command() -> ExitCode:
        async with trio.open_nursery():
            raise KeyboardInterrupt
        return ExitCode.OK

    with pytest.raises(KeyboardInterrupt):
        run_trio(command)
    with pytest.raises(SystemExit) as left:
        _interrupt()
    assert left.value.code == ExitCode.INTERRUPTED


def _interrupt() -> None:
    from crush_trio.cli.exits import shown_errors  # noqa: PLC0415

    with shown_errors():
        raise click.Abort


@pytest.mark.parametrize("args", [["dirs"], ["schema"], ["models", "--all"]])
def test_a_full_disk_is_told_and_not_shown_as_a_defect(args: list[str], tmp_path: Path) -> None:
    """One line says why; what is left in the buffers makes no noise at the end."""
    command = [sys.executable, "-m", "crush_trio", *args]
    environ = {**os.environ, "HOME": str(tmp_path)}
    with open_full() as full:
        done = subprocess.run(  # noqa: PLW1510  the code is looked at
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environ,
            timeout=PROCESS_LIMIT,
        )
    assert (done.returncode, done.stderr) == (1, b"Error: No space left on device\n")


@contextmanager
def open_full() -> Generator[int]:
    """Open a device on which there is never room."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
