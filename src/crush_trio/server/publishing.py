"""Small files for clients of the same user to find: the token, and a certificate made at the start.

Where they lie is in :mod:`crush_trio.addresses`, since clients look there too.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from crush_trio.errors import ConfigError


@contextmanager
def published(paths: frozenset[Path], text: str, what: str) -> Generator[None]:
    """Keep ``text`` in files; leaving the block removes them.

    A file that another server has overwritten meanwhile is left alone.

    Args:
        paths: Where; the directories are made.
        text: What is in each of them.
        what: What an error calls it.

    Raises:
        ConfigError: a file cannot be written.
    """
    try:
        for path in paths:
            write_private(path, text, what)
        yield
    finally:
        for path in paths:
            with suppress(OSError):
                if path.read_bytes() == text.encode():
                    path.unlink()


def write_private(path: Path, text: str, what: str) -> None:
    """Write a file that only its owner can read, at no moment less private than that.

    Raises:
        ConfigError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):  # it may not even have been made
            fresh.unlink()
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot write the {what} file {str(path)!r}: {reason}") from error
