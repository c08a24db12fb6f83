"""What a server process imports, which is most of its start-up and much of its memory."""

from __future__ import annotations

import re
from pathlib import Path

import trio

from limits_kit import REAL_LIMIT
from people_kit import desk
from process_kit import ServerProcess, open_server_process

UNNEEDED = {
    "openai",  # and what comes with it: at the first prompt, in a thread
    "anthropic",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "pydantic",
    "mcp",
    "numpy",  # the embedded model's
    "cryptography",  # a certificate of our own
    "rich",
    "pytest",
    "hypothesis",
}
"""Packages that a server may need, or its clients or tests, but not to start."""

OURS = {"crush_trio.client", "crush_trio.testing", "crush_trio.cli.prompting"}


async def test_a_server_imports_only_what_serving_needs(tmp_path: Path) -> None:
    """Neither until it listens, nor for a client that looks around without a prompt."""
    with trio.fail_after(REAL_LIMIT):
        timed = {"PYTHONPROFILEIMPORTTIME": "1"}
        async with open_server_process(tmp_path, env=timed) as server:
            assert not needless(server)
            async with desk(server):
                assert await server.request("GET", "/v1/workspaces")
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not needless(server)
            assert {"crush_trio.server.serve", "quart"} <= imported(server)


def needless(server: ServerProcess) -> set[str]:
    """Return what was imported for nothing."""
    found = imported(server)
    return (found & OURS) | ({name.partition(".")[0] for name in found} & UNNEEDED)


def imported(server: ServerProcess) -> set[str]:
    """Return the names of all modules that a server has imported, as its log tells."""
    return set(re.findall(r"^import time: .*\| +([\w.]+)$", server.log.decode(), re.MULTILINE))
