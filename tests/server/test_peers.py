"""Whose connection a unix socket takes (A1)."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

import pytest

from crush_trio.addresses import Address
from crush_trio.server.peers import owners, peer_uid
from serving_kit import read_until, serving


@pytest.mark.promise("A1")
def test_the_system_tells_who_is_at_the_other_end() -> None:
    """Linux and macOS do."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_uid(ours) == os.geteuid()


def test_a_server_belongs_to_its_user_and_to_root() -> None:
    """Root can do all that its user can."""
    assert owners() == {os.geteuid(), 0}


@pytest.mark.promise("A1")
async def test_another_users_connection_is_closed_unanswered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the socket file's mode has become; the log says who it was."""
    address = Address("unix", path=str(tmp_path / "server.sock"))
    others = frozenset({os.geteuid() + 1})
    with caplog.at_level(logging.WARNING):
        async with serving(address=address, uids=others) as server:
            stream = await server.connect()
            assert await read_until(stream, b"") == b""
    assert f"user {os.geteuid()} is not the owner of this socket" in caplog.text


async def test_over_tcp_nobody_asks_for_the_user() -> None:
    """There the token decides."""
    async with serving(uids=frozenset()) as server:
        assert await server.status() == 200
