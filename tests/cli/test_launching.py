"""Start a server in the background: once, bounded, with a message that helps."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from crush_trio.addresses import Address
from crush_trio.cli.launching import ensure_server, ready_timeout
from crush_trio.client import open_client
from crush_trio.errors import ServerUnavailableError
from limits_kit import PROCESS_LIMIT, REAL_LIMIT
from tools_kit import wait_gone


@pytest.fixture
async def address(tmp_path: Path) -> AsyncGenerator[Address]:
    """An address of the test's own; a server that listens there at the end is stopped."""
    path = tmp_path / "s.sock"
    yield Address("unix", path=str(path))
    if (pid := peer(path)) is not None:
        os.kill(pid, signal.SIGTERM)
        with trio.fail_after(PROCESS_LIMIT):
            await wait_gone(pid)


def peer(path: Path) -> int | None:
    """Return the process that listens at ``path``."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return None
        told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", told)[0])


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    """Return an environment whose server keeps to ``tmp_path`` and does not stay long."""
    homes = {f"XDG_{name}_HOME": str(tmp_path) for name in ("CONFIG", "DATA", "CACHE", "STATE")}
    limits = {"CRUSH_SERVER_IDLE_TIMEOUT": "20", "CRUSH_SERVER_READY_TIMEOUT": f"{PROCESS_LIMIT}s"}
    return {**os.environ, **homes, **limits, "HOME": str(tmp_path), **more}


async def test_many_commands_start_one_server(address: Address, tmp_path: Path) -> None:
    """A start lock serialises them: the second one finds the first one's server."""
    pids: list[int | None] = []

    async def attach() -> None:
        async with open_client(address) as client:
            await ensure_server(client, address, environ(tmp_path), tmp_path / "logs")
            pids.append(peer(Path(address.path)))

    with trio.fail_after(PROCESS_LIMIT):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(attach)
    assert len(pids) == 3
    assert len(set(pids)) == 1
    [pid] = set(pids)
    assert pid is not None
    assert os.getsid(pid) == pid  # it survives our terminal


async def test_a_server_that_does_not_start_is_explained(tmp_path: Path) -> None:
    """The user sees the end of its log, and nothing is left running."""
    address = Address("unix", path=str(tmp_path / "none" / "s.sock"))
    async with open_client(address) as client:
        with trio.fail_after(PROCESS_LIMIT), pytest.raises(ServerUnavailableError) as failed:
            await ensure_server(client, address, environ(tmp_path), tmp_path / "logs")
    told = str(failed.value)
    assert "cannot start a server: it exited with status" in told
    assert f"{tmp_path}/none" in told


async def test_a_socket_that_says_nothing_is_no_server(tmp_path: Path) -> None:
    """Something else listens there; waiting for it is bounded."""
    address = Address("unix", path=str(tmp_path / "s.sock"))
    short = environ(tmp_path, CRUSH_SERVER_READY_TIMEOUT="100ms")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(address.path)
        sock.listen()
        async with open_client(address) as client:
            with (
                trio.fail_after(REAL_LIMIT),
                pytest.raises(ServerUnavailableError, match="no answer"),
            ):
                await ensure_server(client, address, short, tmp_path / "logs")


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1.5m", 90), ("250ms", 0.25), ("soon", 10), ("", 10)]
)
def test_the_ready_timeout_is_a_go_duration(text: str, seconds: float) -> None:
    """The variable is Crush's (wire contract 10.5); nonsense means the default."""
    assert ready_timeout({"CRUSH_SERVER_READY_TIMEOUT": text}) == seconds
