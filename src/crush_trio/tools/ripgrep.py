"""Running ripgrep where there is one (agent contract 2.10, 2.11).

Below the tools that search; a search without it is in :mod:`crush_trio.tools.searching`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
import trio

KILL_TIMEOUT = 1.0
"""Seconds that a killed ripgrep may take to be gone; longer only in uninterruptible sleep."""


FAILED = 2
"""Exit status of a ripgrep that could not search all it should."""


@attrs.frozen
class Output:
    """What ripgrep wrote, its exit status, and whether it was stopped because that was enough."""

    status: int
    data: bytes
    stopped: bool


def find_ripgrep(env: Mapping[str, str]) -> str | None:
    """Return the path of ripgrep as the tools' environment has it, or None."""
    return shutil.which("rg", path=env.get("PATH", ""))


async def run_ripgrep(
    command: Sequence[str],
    *,
    working_dir: str,
    env: Mapping[str, str],
    enough: Callable[[bytearray], bool],
) -> Output:
    """Run ripgrep until it is done or has written enough; a cancel kills it.

    What it writes to standard error is dropped: whoever gets the status 2 searches in another way,
    which says better what is wrong.

    Args:
        command: The program and its arguments.
        working_dir: Where it runs.
        env: Its environment.
        enough: Told all that came so far, which it may consume; whether that is enough.
    """
    data, stopped, status = bytearray(), False, FAILED
    run = partial(
        trio.run_process,
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        cwd=working_dir,
        env=env,
        deliver_cancel=_kill,
    )
    try:
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(run)
            assert process.stdout is not None
            async with process.stdout:
                async for chunk in process.stdout:
                    data += chunk
                    if enough(data):
                        stopped = True
                        process.kill()
                        break
            status = await process.wait()
    except* OSError:  # it cannot be started: as bad as one that fails
        pass
    return Output(status, bytes(data), stopped)


async def _kill(process: trio.Process) -> None:
    process.kill()
    with trio.move_on_after(KILL_TIMEOUT, shield=True):
        await process.wait()
