"""The log of a data directory: what happened in its workspaces, for people (agent contract 3.10).

JSON lines in ``logs/crush.log``, the file that Crush's own programs write too: each record is
opened for, written in one piece and closed, so that whoever else writes or rotates loses nothing.
A record belongs to the data directory that its task has entered; what no workspace has to do with
is in the server's own log only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from crush_trio.messages import encodable

LOG_FILE = "logs/crush.log"
"""Where it is in a data directory (agent contract 3.10)."""

ROTATE_BYTES = 10_000_000
"""Bytes at which a log becomes an old one (agent contract 3.10)."""

OLD_LOGS = 3
"""Old logs that are kept, the newest with the suffix ``.1``."""

ROOT = "crush_trio"
"""The logger that all of ours are below."""

_entered: ContextVar[Path | None] = ContextVar("data directory of the present task", default=None)

_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}
"""Crush's names for levels, where they are others."""


def enter_log(directory: Path | None) -> None:
    """Let what the present task logs, and those that it starts, belong to a data directory."""
    _entered.set(directory)


@contextmanager
def open_log(directory: Path) -> Generator[None]:
    """Write what belongs to ``directory`` into its log, until the block is left."""
    handler = _Handler(directory)
    logger = logging.getLogger(ROOT)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Handler(logging.Handler):
    """Writes one data directory's log. What cannot be written is dropped: a log fails nobody (C3)."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._path = directory / LOG_FILE

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record belongs here."""
        return _entered.get() == self._directory and super().filter(record) is not False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            line = log_line(record)
            self._path.parent.mkdir(mode=0o700, exist_ok=True)  # never the data directory itself
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(file).st_size
                os.write(file, line)
            finally:
                os.close(file)
            if size + len(line) > ROTATE_BYTES:
                rotate(self._path)
        except Exception:  # noqa: BLE001, S110 -- also what an error raises that is asked for its text
            pass


def log_line(record: logging.LogRecord) -> bytes:
    """Return a record as one line of JSON, in the form of Crush's own logs."""
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        "level": _LEVELS.get(record.levelname, record.levelname),
        "source": {
            "function": f"{record.name}.{record.funcName}",
            "file": record.pathname,
            "line": record.lineno,
        },
        "msg": encodable(record.getMessage()),
    }
    if record.exc_info:
        line["error"] = encodable(logging.Formatter().formatException(record.exc_info))
    return msgspec.json.encode(line) + b"\n"


def rotate(path: Path) -> None:
    """Make a log an old one; the oldest goes. Harmless if somebody else has just done it."""
    for number in range(OLD_LOGS, 0, -1):
        source = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if source.exists():
            source.replace(path.with_name(f"{path.name}.{number}"))
