"""Shell commands as processes that end with their caller.

Above it are the job table and whoever runs a command for a user; below it the operating system.
It knows no jobs, tools or permissions.

Rules of this file:

1. A command runs in a *session* of its own and is ended as a session: programs such as
   ``timeout`` and shells with job control put themselves into other process groups, which a
   signal to one group does not reach. Only what starts another session (a daemon) gets away.
2. Returning, by whatever way, means that nobody of the session is left (R11, W5), or that the
   bound of the shield has passed (a process in uninterruptible sleep).
3. The end of a command is the end of its shell. A grandchild that keeps a pipe open does not
   hold it up; it has :data:`DRAIN` seconds to say what it has to say, then it is ended too.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import trio

from crush_trio.tools.capture import Capture

DRAIN = 0.25
"""Seconds that output is still read after the shell has exited, if somebody holds the pipe."""

KILL_TIMEOUT = 1.0
"""Seconds that a killed session may take to be gone; longer only in uninterruptible sleep."""

POLL = 0.02
"""Seconds between two looks at a process group where the system has no event for its end."""

_QUIET = {
    "TERM": "xterm-256color",
    "GIT_EDITOR": "false",
    "EDITOR": "false",
    "VISUAL": "false",
    "JJ_EDITOR": "false",
    "JJ_PAGER": "cat",
    "GIT_PAGER": "cat",
    "PAGER": "cat",
}


def quiet_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which no program opens an editor or a pager (agent contract 2.4)."""
    return {**env, **_QUIET}


class Shell(Protocol):
    """The seam to processes: something that runs a shell command."""

    async def __call__(
        self,
        command: str,
        *,
        working_dir: str,
        env: Mapping[str, str],
        stdout: Capture,
        stderr: Capture,
        grace: float,
    ) -> int:
        """Run ``command`` with empty input until its shell exits; return the exit status.

        What it writes is in ``stdout`` and ``stderr`` as it comes. A cancel, like the end, leaves
        no process behind: who does not go when asked is killed ``grace`` seconds later.

        Raises:
            OSError: it cannot be started, for example because ``working_dir`` is missing.
            ValueError: the command contains a NUL character.
        """
        ...


async def run_shell(
    command: str,
    *,
    working_dir: str,
    env: Mapping[str, str],
    stdout: Capture,
    stderr: Capture,
    grace: float,
) -> int:
    """Run ``command`` in bash, or sh where there is no bash; see :class:`Shell`.

    A shell that died of signal N counts as exit status 128 + N, as shells themselves say it.
    """
    process = await trio.lowlevel.open_process(
        [shutil.which("bash") or "sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=working_dir,
        env=env,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with process.stdout, process.stderr:  # open until nobody of the session can write
        try:
            async with trio.open_nursery() as readers:
                readers.start_soon(_read, process.stdout, stdout, name="stdout")
                readers.start_soon(_read, process.stderr, stderr, name="stderr")
                status = await process.wait()
                readers.cancel_scope.deadline = trio.current_time() + DRAIN
        finally:
            with trio.move_on_after(grace + KILL_TIMEOUT, shield=True):
                await _end(process, grace)
    return status if status >= 0 else 128 - status


async def _read(stream: trio.abc.ReceiveStream, capture: Capture) -> None:
    async for chunk in stream:
        capture.add(chunk)


async def _end(process: trio.Process, grace: float) -> None:
    """SIGINT for everybody, SIGTERM for who outlives the shell, SIGKILL after the grace.

    SIGTERM, because a shell without job control starts ``cmd &`` with SIGINT ignored.
    """
    with trio.move_on_after(grace):
        if process.returncode is None:
            _signal(process.pid, signal.SIGINT)
            await process.wait()
        await _clear(process.pid, signal.SIGTERM)
        return
    if process.returncode is None:
        _signal(process.pid, signal.SIGKILL)
        await process.wait()
    await _clear(process.pid, signal.SIGKILL)


async def _clear(session: int, number: signal.Signals) -> None:
    """Signal the live processes of a session until there are none; newly forked ones, too."""
    while pids := _signal(session, number):
        for pid in pids:
            await _exit_of(pid)


def _signal(session: int, number: signal.Signals) -> list[int]:
    """Signal every process group of a session; return the pids that were alive."""
    groups = _members(session)
    for group in set(groups.values()):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    return list(groups)


def _members(session: int) -> dict[int, int]:
    """Return the live processes of a session with their process groups.

    Without ``/proc`` it is the leader's process group and stands for all of them.
    """
    if not Path("/proc/self/stat").exists():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(session, 0)
            return {session: session}
        return {}
    found: dict[int, int] = {}
    names = (entry.name for entry in Path("/proc").iterdir())
    for pid in map(int, filter(str.isdecimal, names)):
        with suppress(ProcessLookupError):
            if os.getsid(pid) == session and not _is_zombie(pid):
                found[pid] = os.getpgid(pid)
    return found


def _is_zombie(pid: int) -> bool:
    """Whether a process is dead and only waits to be reaped, by somebody else than us."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(b")")[2].split()[0] in b"ZX"  # the name may contain brackets and blanks


async def _exit_of(pid: int) -> None:
    """Wait until a process has exited that is not our child."""
    if sys.platform != "linux":
        await trio.sleep(POLL)
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        await trio.lowlevel.checkpoint()
        return
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)
