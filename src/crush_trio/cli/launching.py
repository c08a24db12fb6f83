"""Start a server in the background, once, however many commands want one at the same time."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import platformdirs
import trio

from crush_trio.addresses import Address
from crush_trio.cli.seconds import IDLE_VARIABLE, whole_seconds
from crush_trio.client import Client
from crush_trio.errors import ServerUnavailableError
from crush_trio.filelock import wait_lock

READY_TIMEOUT = 10.0
"""Seconds that a server has until it answers; ``CRUSH_SERVER_READY_TIMEOUT`` outranks it."""

IDLE_EXIT = 60
"""Seconds without a workspace after which a server that a command started stops."""

POLL_PAUSE = 0.05
"""Seconds between two looks at a starting server."""

TAIL = 10
"""Lines of a failed server's log that the user is shown."""


async def ensure_server(
    client: Client,
    address: Address,
    environ: Mapping[str, str] = os.environ,
    logs: Path | None = None,
) -> None:
    """Return once a server answers; start one if none does and ``address`` is a socket file.

    Args:
        client: Of the server at ``address``.
        address: Where the server is, or will be.
        environ: The server's environment.
        logs: Where its log and the start lock are; the user's log directory if None.

    Raises:
        ResponseError: the server there refuses us.
        ServerUnavailableError: there is none, and none could be started in time.
    """
    limit = ready_timeout(environ)
    if await _answers(client, limit):
        return
    if address.network != "unix":
        raise ServerUnavailableError(
            f"no server answers at {address}: start one with: crush-trio serve --host {address}"
        )
    folder = _folder(logs or platformdirs.user_log_path("crush-trio"), address)
    async with _start_lock(folder / "start.lock", limit):
        if not await _answers(client, limit):
            await _start(client, address, folder / "server.log", environ)


def ready_timeout(environ: Mapping[str, str]) -> float:
    """Return the seconds that a server has to start: ``30s``, ``500ms`` and the like, or 10."""
    text = environ.get("CRUSH_SERVER_READY_TIMEOUT", "")
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", text)
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60}[found[2]] if found else READY_TIMEOUT


async def _answers(client: Client, limit: float) -> bool:
    """Whether a server answers; a socket that accepts and says nothing is an error."""
    with trio.move_on_after(limit):
        try:
            await client.health()
        except ServerUnavailableError:
            return False
        return True
    raise ServerUnavailableError(f"{client!r} gets no answer: is that a crush server?")


def _folder(logs: Path, address: Address) -> Path:
    """Return the directory of the lock and the log, made if need be."""
    folder = logs / address.file_name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_start(f"cannot create {folder}: {error.strerror}") from error
    return folder


@asynccontextmanager
async def _start_lock(path: Path, limit: float) -> AsyncGenerator[None]:
    """Be the only one that starts this server. The lock goes with the process, so none is stale."""
    try:
        file = path.open("a")
    except OSError as error:
        raise _cannot_start(f"cannot open {path}: {error.strerror}") from error
    with file:
        with trio.move_on_after(2 * limit) as patience:
            await wait_lock(file.fileno(), POLL_PAUSE)
        if patience.cancelled_caught:
            raise _cannot_start(f"another program has been starting it for long: see {path.parent}")
        yield


async def _start(client: Client, address: Address, log: Path, environ: Mapping[str, str]) -> None:
    """Start a server and wait until it answers."""
    limit = ready_timeout(environ)
    try:
        pid = _spawn(address, log, environ)
    except OSError as error:
        raise _cannot_start(str(error)) from error
    status: int | None = None
    with trio.move_on_after(limit):
        while status is None:
            if await _answers(client, limit):
                return
            await trio.sleep(POLL_PAUSE)
            status = _exit_status(pid)
    if status is None:
        os.kill(pid, signal.SIGTERM)
        reason = f"it did not answer within {limit:g} s"
    else:
        reason = f"it exited with status {status}"
    raise _cannot_start(f"{reason}; its log {log} ends with:\n{_tail(log)}")


def _spawn(address: Address, log: Path, environ: Mapping[str, str]) -> int:
    """Start the server in a session of its own, so that it outlives us and our terminal.

    Not with ``subprocess``, whose objects want to see the end of their process.
    """
    if log.exists():
        log.replace(log.with_suffix(".old"))
    # -P: the directory that we work in must not shadow any module.
    command = [sys.executable, "-P", "-m", "crush_trio", "serve", "--host", str(address)]
    if whole_seconds(environ, IDLE_VARIABLE) is None:  # else the server reads it itself
        command += ["--idle-exit", str(IDLE_EXIT)]
    opened = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return os.posix_spawn(
        sys.executable,
        command,
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), opened, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE],
    )


def _exit_status(pid: int) -> int | None:
    """Return how our server ended, or None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-TAIL:]
    return "\n".join(f"  {line}" for line in lines) or "  (nothing)"


def _cannot_start(reason: str) -> ServerUnavailableError:
    return ServerUnavailableError(f"cannot start a server: {reason}")
