"""A slice of what ``nox -s fuzz`` does for longer (docs/operations.md has the report)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

PROGRAM = Path(__file__).parent.parent / "fuzz" / "run.py"


@pytest.mark.promise("C3", "C4", "W5")
async def test_nothing_is_found_in_2000_inputs() -> None:
    """Bytes, HTTP/2 frames and documents with mistakes in them, at a real server in a process of its
    own: it answers what it should, serves on, and holds no more than before."""
    with trio.fail_after(600):
        done = await trio.run_process(
            [sys.executable, str(PROGRAM), "--inputs", "2000", "--seed", "2026"],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    counted = re.search(r"^inputs: (\{.*\})$", said, re.MULTILINE)
    assert counted is not None, said
    assert sum(map(int, re.findall(r"\d+(?=[,}])", counted[1]))) >= 2_000
