"""What the server says it is (R-02): itself, or a given Crush, whose clients then find their own kind.

A client of Crush compares version and build id with its own before it starts (wire contract 10.5).
If they differ it asks the server to make room, is refused, and uses it all the same.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from crush_trio import __version__
from crush_trio.errors import ConfigError
from crush_trio.wire.workspaces import VersionInfo

Identity = Callable[[], Awaitable[VersionInfo]]
"""Tells what the server is, each time that it is asked."""

VERSION_TIMEOUT = 5.0
"""Seconds that a program may take to print its version."""

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's names for machines, which ``platform`` is spelled with."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_VERSION = re.compile(r"(?:\w+ version )?(\S+)")


async def own_identity() -> VersionInfo:
    """Return what this server is; its build id fits no Crush client, so each of them reuses it."""
    await trio.lowlevel.checkpoint()
    return _info(__version__, f"crush-trio-{__version__}")


class PretendedCrush:
    """The identity of a Crush program, as its own clients compute it.

    The program is looked at each time, so that an upgrade of it is noticed.

    Args:
        path: The program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = ""
        self._stamp = -1

    async def __call__(self) -> VersionInfo:
        """Return the version and the build id that the program's clients expect.

        Raises:
            ConfigError: the program is not there, or does not say its version.
        """
        stamp = self._modified()
        if stamp != self._stamp:
            self._version = await self._ask()
            self._stamp = stamp
        await trio.lowlevel.checkpoint()
        return _info(self._version, base36(self._stamp))

    def _modified(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from error

    async def _ask(self) -> str:
        """Run the program for its version."""
        try:
            with trio.fail_after(VERSION_TIMEOUT):
                done = await trio.run_process(
                    [self._path, "--version"], capture_stdout=True, capture_stderr=True, check=False
                )
        except (OSError, trio.TooSlowError) as error:
            raise ConfigError(f"{self._path} --version: {error or 'no answer'}") from error
        found = _VERSION.match(done.stdout.decode("utf-8", "replace").strip())
        if done.returncode != 0 or found is None:
            raise ConfigError(f"{self._path} --version did not print a version")
        return found[1]


def base36(number: int) -> str:
    """Return a number, not negative, in Go's base 36."""
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def _info(version: str, build_id: str) -> VersionInfo:
    machine = platform.machine()
    return VersionInfo(
        version=version,
        commit="unknown",
        build_id=build_id,
        go_version=f"python{platform.python_version()}",
        platform=f"{sys.platform}/{MACHINES.get(machine, machine)}",
    )
