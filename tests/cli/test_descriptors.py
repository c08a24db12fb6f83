"""How many files a server process may have open."""

from __future__ import annotations

import subprocess
import sys

import pytest

from limits_kit import PROCESS_LIMIT

PROGRAM = """
import logging, resource
from crush_trio.cli.descriptors import raise_limit
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
raise_limit(300)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "limits", "said"),
    [
        (200, 400, "(300, 400)", ""),
        (200, 250, "(250, 250)", "may have 250 files open, 300 are better"),
        (350, 400, "(350, 400)", ""),
    ],
)
def test_the_limit_is_raised_where_that_is_allowed(
    soft: int, hard: int, limits: str, said: str
) -> None:
    """Never lowered, and where it is not allowed that is said."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(soft=soft, hard=hard)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PROCESS_LIMIT,
    )
    assert done.stdout.strip() == limits
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)
