"""What the tests of searches share: the two ways to search, and trees to search in."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from crush_trio.tools.base import ToolAnswer
from crush_trio.wire.config import Timeout, ToolsConfig
from limits_kit import REAL_LIMIT
from tools_kit import Toolbox, open_toolbox

WAYS = {"ripgrep": sysconfig.get_path("scripts"), "python": ""}
"""``PATH`` with ripgrep, which the test requirements bring, and without it."""


def plant(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Make files with these contents, each older than the one before; empty directories end in a slash."""
    for age, (name, content) in enumerate(files.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
            continue
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        moment = 1_700_000_000 - age
        os.utime(path, (moment, moment))


@asynccontextmanager
async def open_search(
    directory: Path, programs: str, limits: ToolsConfig | None = None
) -> AsyncGenerator[Toolbox]:
    """Open a workspace whose programs are in a place; no user's own ignore files reach it."""
    env = {"HOME": str(directory / "home"), "PATH": programs}
    async with open_toolbox(directory, env=env, tools=limits or ToolsConfig()) as box:
        yield box
        assert box.asked == []


async def search(directory: Path, way: str, tool: str, **arguments: object) -> ToolAnswer:
    """Search a workspace in one of the ways."""
    with trio.fail_after(REAL_LIMIT):
        async with open_search(directory, WAYS[way]) as box:
            return await box.call(tool, **arguments)


@asynccontextmanager
async def open_both(directory: Path) -> AsyncGenerator[tuple[Toolbox, Toolbox]]:
    """Open a workspace in both ways at once, to compare them."""
    with trio.fail_after(REAL_LIMIT):
        async with open_search(directory, WAYS["ripgrep"]) as one:
            async with open_search(directory, WAYS["python"]) as other:
                yield one, other


def short(milliseconds: int) -> Timeout:
    """Return a time-out as it is configured."""
    return Timeout(milliseconds * 1_000_000)
