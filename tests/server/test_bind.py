"""Taking an address: never somebody else's, open to nobody else, and left clean (A1)."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import trio

from crush_trio.addresses import Address
from crush_trio.errors import AddressInUseError, ConfigError
from crush_trio.server.bind import LONGEST_PATH, open_listener, others_may_replace
from limits_kit import REAL_LIMIT
from serving_kit import LOOPBACK, serving

ME, STRANGER = os.geteuid(), os.geteuid() + 12_345
GROUP, NO_GROUP = 100, 2**30 + 12_345


def unix(directory: Path) -> Address:
    return Address("unix", path=str(directory / "crush.sock"))


def socket_file(directory: Path) -> Path:
    return directory / "crush.sock"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def content_of(path: Path) -> str:
    return path.read_text()


def leave_stale_socket(address: Address) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)


def replace_socket(address: Address) -> None:
    Path(address.path).unlink()
    leave_stale_socket(address)


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    tmp_path.chmod(0o777)
    return tmp_path


@pytest.fixture
def sticky(tmp_path: Path) -> Path:
    tmp_path.chmod(0o1777)
    return tmp_path


@pytest.fixture
def plain_file(tmp_path: Path) -> Path:
    socket_file(tmp_path).write_text("precious")
    return socket_file(tmp_path)


@pytest.mark.promise("A1")
async def test_only_its_owner_may_connect_to_a_socket_file(tmp_path: Path) -> None:
    """Mode 0600, and the process's umask is as before."""
    before = os.umask(0o022)
    try:
        async with open_listener(unix(tmp_path)):
            assert mode_of(socket_file(tmp_path)) == 0o600
            assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


async def test_a_server_answers_on_a_socket_file_and_removes_it(tmp_path: Path) -> None:
    """It is gone as soon as nobody new gets in, before the server has ended."""
    left = list[list[str]]()

    async def shutdown() -> None:
        await trio.lowlevel.checkpoint()
        left.append(names_in(tmp_path))

    async with serving(address=unix(tmp_path), shutdown=shutdown) as server:
        assert server.address == unix(tmp_path)
        assert await server.status() == 200
    assert left == [[]]
    assert names_in(tmp_path) == []


async def test_a_live_socket_is_never_stolen(tmp_path: Path) -> None:
    """The second server fails, the first still answers."""
    async with serving(address=unix(tmp_path)) as server:
        with pytest.raises(AddressInUseError, match="a server listens at unix://"):
            async with open_listener(unix(tmp_path)):
                pass
        assert await server.status() == 200


async def test_a_socket_whose_server_does_not_answer_is_not_stolen(tmp_path: Path) -> None:
    """Its queue is full, so connecting neither succeeds nor is refused."""
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(unix(tmp_path).path)
        busy.listen(0)
        waiting.connect(unix(tmp_path).path)
        with trio.fail_after(REAL_LIMIT), pytest.raises(AddressInUseError):
            async with open_listener(unix(tmp_path)):
                pass
    assert names_in(tmp_path) == ["crush.sock"]


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed server left does not keep the next one from starting."""
    leave_stale_socket(unix(tmp_path))
    async with serving(address=unix(tmp_path)) as server:
        assert await server.status() == 200


async def test_of_servers_that_start_together_one_wins(tmp_path: Path) -> None:
    """They must not all find the same stale socket and replace each other's."""
    leave_stale_socket(unix(tmp_path))
    won, lost = list[int](), list[int]()
    release = trio.Event()

    async def contend(number: int) -> None:
        try:
            async with open_listener(unix(tmp_path)) as (listener, _):
                won.append(number)
                async with await listener.accept():
                    await release.wait()
        except AddressInUseError:
            lost.append(number)
            if len(lost) == 7:
                release.set()

    with trio.fail_after(REAL_LIMIT):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(contend, number)
    assert (len(won), len(lost)) == (1, 7)


async def test_a_socket_that_has_been_replaced_is_not_removed(tmp_path: Path) -> None:
    """At its end a server removes its own file only."""
    async with open_listener(unix(tmp_path)):
        replace_socket(unix(tmp_path))
    assert names_in(tmp_path) == ["crush.sock"]


async def test_a_file_that_is_no_socket_is_left_alone(plain_file: Path) -> None:
    """It is somebody's."""
    with pytest.raises(ConfigError, match="is not a socket"):
        async with open_listener(Address("unix", path=str(plain_file))):
            pass
    assert content_of(plain_file) == "precious"


async def test_a_path_that_is_too_long_is_an_error_that_says_so(tmp_path: Path) -> None:
    """With its length and the limit; the longest that fits works."""
    path = str(tmp_path / "x")
    path += "x" * (LONGEST_PATH - len(path))
    async with open_listener(Address("unix", path=path)):
        pass
    with pytest.raises(ConfigError, match=f"{LONGEST_PATH + 1} bytes, but only {LONGEST_PATH} fit"):
        async with open_listener(Address("unix", path=path + "x")):
            pass


async def test_a_missing_directory_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    """And the reason."""
    with pytest.raises(ConfigError, match=r"nowhere/crush\.sock: no such file or directory"):
        async with open_listener(unix(tmp_path / "nowhere")):
            pass


@pytest.mark.promise("A1")
async def test_a_directory_that_others_can_write_is_refused(open_to_all: Path) -> None:
    """They could put a socket of theirs in the place of ours."""
    with pytest.raises(ConfigError, match="can be written by other users"):
        async with open_listener(unix(open_to_all)):
            pass


@pytest.mark.promise("A1")
@pytest.mark.parametrize(
    ("mode", "owner", "refused"),
    [
        (0o700, ME, False),
        (0o755, 0, False),
        (0o1777, 0, False),
        (0o700, STRANGER, True),
        (0o1777, STRANGER, True),
        (0o707, ME, True),
        (0o770, ME, True),
        (0o2775, 0, True),
    ],
)
def test_who_can_write_a_directory_besides_its_owner_is_another_user(
    mode: int, owner: int, refused: bool
) -> None:
    """Members of its group too, but where a group is one user's own, as many systems make them."""
    status = os.stat_result((stat.S_IFDIR | mode, 0, 0, 1, owner, GROUP, 0, 0, 0, 0))
    assert others_may_replace(status, lambda _: False) == refused
    if mode & stat.S_IWGRP and not mode & stat.S_IWOTH:
        assert not others_may_replace(status, lambda group: group == GROUP)


@pytest.mark.promise("A1")
def test_a_group_that_nobody_knows_is_not_ones_own() -> None:
    """Who is in it cannot be said."""
    status = os.stat_result((stat.S_IFDIR | 0o770, 0, 0, 1, ME, NO_GROUP, 0, 0, 0, 0))
    assert others_may_replace(status)


async def test_a_sticky_directory_is_safe(sticky: Path) -> None:
    """There others cannot remove what is ours; the fall-back directory is one (wire contract 0)."""
    async with open_listener(unix(sticky)):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_a_tcp_address_gets_a_port(host: str) -> None:
    """Port 0 is replaced by the one that was found, and the rest is as it was asked for."""
    async with serving(address=Address("tcp", host=host, port=0)) as server:
        assert server.address.host == host
        assert server.address.port > 0
        assert await server.status() == 200


async def test_a_tcp_port_that_is_taken_is_an_error_that_says_so() -> None:
    """It names the address."""
    async with open_listener(LOOPBACK) as (_, bound):
        with pytest.raises(AddressInUseError, match=f"tcp://127.0.0.1:{bound.port} already"):
            async with open_listener(bound):
                pass


async def test_a_host_that_is_not_here_is_an_error_that_says_so() -> None:
    """An address of another machine cannot be listened at."""
    with pytest.raises(ConfigError, match=r"cannot listen at tcp://192\.0\.2\.1:0"):
        async with open_listener(Address("tcp", host="192.0.2.1", port=0)):
            pass


@pytest.mark.promise("S3")
async def test_tcp_connections_notice_that_their_peer_has_vanished() -> None:
    """Keep-alive is on, and is inherited by each connection."""
    async with open_listener(LOOPBACK) as (listener, bound):
        async with (
            await trio.open_tcp_stream(bound.host, bound.port),
            await listener.accept() as ours,
        ):
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
