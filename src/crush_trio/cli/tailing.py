"""What ``crush-trio logs`` does: the end of a log, and then what comes."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
import trio

from crush_trio.cli.exits import ExitCode
from crush_trio.cli.output import printable
from crush_trio.config import find_data_directory
from crush_trio.errors import BadRequestError

LOG_FILE = "logs/crush.log"
"""Where the log is in a data directory (agent contract 3.10)."""

LOOK_PAUSE = 0.2
"""Seconds between two looks at a log that is being followed."""

LINE_MEMBERS = frozenset({"time", "level", "source", "msg"})
"""Members of a line that have their own place when it is printed."""


async def show_log(
    cwd: str,
    *,
    data_dir: str = "",
    follow: bool = False,
    tail: int = 1000,
    as_json: bool = False,
    show: Callable[[str], None] = click.echo,
) -> ExitCode:
    """Print the last lines of the log of the directory ``cwd``; with ``follow``, go on for ever.

    Raises:
        BadRequestError: there is no log.
        ConfigError: the configuration that says where it is cannot be read.
    """
    path = find_data_directory(Path(cwd), env=os.environ, data_dir=data_dir) / LOG_FILE
    if not follow and not path.exists():
        raise BadRequestError(f"there is no log at {path}")
    with closing(_Log(path, (lambda line: line) if as_json else readable)) as log:
        await trio.lowlevel.checkpoint()
        for line in log.last(tail):
            show(line)
        while follow:
            await trio.sleep(LOOK_PAUSE)
            for line in log.new():
                show(line)
    return ExitCode.OK


class _Log:
    """A log that may be rotated while it is read. Its reads are short and local."""

    def __init__(self, path: Path, form: Callable[[str], str]) -> None:
        self._path = path
        self._form = form
        self._file: BinaryIO | None = None
        self._rest = b""

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def last(self, number: int) -> list[str]:
        """Return the last lines that there are now."""
        return list(deque(self.new(), maxlen=number))

    def new(self) -> list[str]:
        """Return what has come since the last call: of the old log first, if it was rotated."""
        lines = self._read()
        if self._moved():
            lines += self._read()
        return [self._form(line.decode("utf-8", "replace")) for line in lines]

    def _read(self) -> list[bytes]:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except FileNotFoundError:
                return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return lines

    def _moved(self) -> bool:
        """Return whether the log is another file now, and let go of the one that was read."""
        if self._file is None:
            return False
        try:
            same = os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False  # between two files: look again later
        if not same:
            self.close()
        return not same


def readable(line: str) -> str:
    """Return a line of a log for people: time, level, message, and what else there is."""
    try:
        found: Any = json.loads(line)
    except ValueError:
        return printable(line)
    if not isinstance(found, dict):
        return printable(line)
    members = cast("dict[str, Any]", found)
    head = (str(members.get(name, "")) for name in ("time", "level", "msg"))
    rest = (
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in members.items()
        if name not in LINE_MEMBERS
    )
    return printable(" ".join([*head, *rest]))
