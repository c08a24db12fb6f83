"""Binding the server's address: nobody's socket is taken, nobody else gets in, nothing is left.

Knows no HTTP. A socket file is ours for as long as our socket listens on it, and is removed before
that ends; so whoever finds it dead may remove it, and whoever finds it alive must not.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import attrs
import trio

from crush_trio.addresses import Address
from crush_trio.errors import AddressInUseError, ConfigError
from crush_trio.filelock import wait_lock

BACKLOG = 4096
"""Connections that may wait to be accepted: after a restart all clients come back at once."""

LONGEST_PATH = 107 if os.uname().sysname == "Linux" else 103
"""Bytes of a socket path that the system takes (``sun_path`` less its final zero)."""

PRIVATE = 0o177
"""The umask that makes a socket file ``rw-------``: only its owner may connect (A1)."""

PROBE_TIMEOUT = 0.2
"""Seconds in which a live server takes a connection (wire contract 10.4)."""

LOCK_TIMEOUT = 5.0
"""Seconds to wait for other servers that are starting in the same directory."""

LOCK_PAUSE = 0.02
"""Seconds between two tries to get their lock."""

KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""A silent TCP peer that has vanished is found within two minutes (S3). ``TCP_USER_TIMEOUT`` would
find it sooner while data is under way, but it also ends a peer that is there and does not read."""


@asynccontextmanager
async def open_listener(address: Address) -> AsyncGenerator[tuple[trio.SocketListener, Address]]:
    """Listen at ``address``; leaving the block removes the socket file and stops listening.

    Yields:
        The listener, and the address with the port that it got.

    Raises:
        AddressInUseError: somebody listens there already; nothing of theirs was touched.
        ConfigError: listening there is not possible or not safe; the message says why.
    """
    unix = address.network == "unix"
    with await _bind_unix(Path(address.path)) if unix else await _bind_tcp(address) as bound:
        file = os.lstat(address.path) if unix else None
        # A duplicate, so that the socket is live until its file is gone, whoever closes this one.
        accepting = trio.socket.from_stdlib_socket(bound.dup())
        try:
            if not unix:
                address = attrs.evolve(address, port=bound.getsockname()[1])
            yield trio.SocketListener(accepting), address
        finally:
            if file is not None:
                _remove(address.path, file)
            accepting.close()


async def _bind_unix(path: Path) -> socket.socket:
    if (size := len(os.fsencode(path))) > LONGEST_PATH:
        raise ConfigError(
            f"socket path {str(path)!r} has {size} bytes, but only {LONGEST_PATH} fit: "
            "choose a shorter one"
        )
    with _explained(path), _opened(path.parent) as directory:
        _require_safe(directory, path.parent)
        await _lock(directory, path)  # until the directory is closed
        await _clear(path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _closed_on_error(bound):
            umask = os.umask(PRIVATE)
            try:
                bound.bind(str(path))
            finally:
                os.umask(umask)
            bound.listen(BACKLOG)
        return bound


async def _bind_tcp(address: Address) -> socket.socket:
    with _explained(address):
        family, type_, proto, _, name = (
            await trio.socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        )[0]
        if address.host.lower() == "localhost" and not ip_address(name[0]).is_loopback:
            raise ConfigError(f"localhost is {name[0]!r} here: write the address that you mean")
        bound = socket.socket(family, type_, proto)
        with _closed_on_error(bound):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # inherited by connections
            for option, value in KEEPALIVE:
                if number := getattr(socket, option, None):
                    bound.setsockopt(socket.IPPROTO_TCP, number, value)
            bound.bind(name)
            bound.listen(BACKLOG)
        return bound


@contextmanager
def _opened(directory: Path) -> Generator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _require_safe(directory: int, path: Path) -> None:
    """Refuse a directory in which another user could put a socket in the place of ours (A1)."""
    if others_may_replace(os.fstat(directory)):
        raise ConfigError(
            f"directory {str(path)!r} can be written by other users, who could take the socket's "
            "place: choose an address in a directory of your own"
        )


def others_may_replace(
    status: os.stat_result, is_own_group: Callable[[int], bool] | None = None
) -> bool:
    """Return whether somebody else, but root, can replace files of ours in a directory.

    Args:
        status: The directory's.
        is_own_group: Whether nobody else is in a group; the system is asked if None.
    """
    if status.st_uid not in {0, os.geteuid()}:
        return True
    if status.st_mode & stat.S_ISVTX:  # there everybody may add files, but only owners remove them
        return False
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not (is_own_group or _is_own_group)(
        status.st_gid
    )


def _is_own_group(gid: int) -> bool:
    """Whether a group is this user's own: many systems make one for each, of the same name.

    Who else has it as the primary group is not looked up, which may mean to list a whole company.
    """
    try:
        name, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == name and {*group.gr_mem} <= {name}


async def _lock(directory: int, path: Path) -> None:
    """Keep other servers from probing and binding in this directory until it is closed.

    The directory and not a file beside the socket, which would stay behind.
    """
    with trio.move_on_after(LOCK_TIMEOUT):
        await wait_lock(directory, LOCK_PAUSE)
        return
    raise AddressInUseError(
        f"directory {str(path.parent)!r} has been locked for {LOCK_TIMEOUT:g} s: "
        "another server is starting there"
    )


async def _clear(path: Path) -> None:
    """Remove a socket that a dead server has left."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{str(path)!r} is not a socket: move it away or choose another address")
    if await _is_live(path):
        raise AddressInUseError(f"a server listens at unix://{path} already")
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  a Path's would have to be awaited here


async def _is_live(path: Path) -> bool:
    """Whether somebody listens. In doubt, somebody does (wire contract 10.4)."""
    with trio.move_on_after(PROBE_TIMEOUT):
        try:
            stream = await trio.open_unix_socket(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        await trio.aclose_forcefully(stream)
    return True


def _remove(path: str, ours: os.stat_result) -> None:
    """Remove our socket file, unless somebody has put another in its place."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.lstat(path), ours):
            os.unlink(path)  # noqa: PTH108  a Path is not needed twice


@contextmanager
def _closed_on_error(bound: socket.socket) -> Generator[None]:
    try:
        yield
    except BaseException:
        bound.close()
        raise


@contextmanager
def _explained(place: object) -> Generator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(f"something listens at {place} already") from error
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot listen at {place}: {reason}") from error
