"""A project of a user: its tests are run by a pytest of its own, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs
import trio

import crush_trio
from limits_kit import PROCESS_LIMIT

SOURCE = Path(crush_trio.__file__).parent.parent


@attrs.frozen
class Said:
    """What a pytest of a user said."""

    status: int
    text: str


async def user_pytest(
    directory: Path, test: str, *arguments: str, plugins: tuple[str, ...] = ()
) -> Said:
    """Run a user's test file with our plugin, and with no other that happens to be installed."""
    (directory / "test_mine.py").write_text(test)
    named = (each for name in ("crush_trio.pytest_plugin", *plugins) for each in ("-p", name))
    env = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(SOURCE), str(directory)]),
    }
    with trio.fail_after(PROCESS_LIMIT):
        done = await trio.run_process(
            [sys.executable, "-m", "pytest", "-q", *named, *arguments, "test_mine.py"],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=directory,
            env=env,
        )
    return Said(done.returncode, done.stdout.decode())
