"""Replacing a file's content in one step, so that nobody ever sees half of it.

Below the tools that change files. The new content is written to a file beside the old one, which
it then replaces. Where a new file would not be the same file to others (one that has several
names or another owner, or that is mounted by itself), and where the directory takes no new file,
the old one is overwritten where it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

import attrs

NEW_FILE_MODE = 0o644
"""Mode of files that tools create, before the process's mask (agent contract 2.3)."""

_Identity = tuple[int, int]


@attrs.define(eq=False)
class Staged:
    """Content that is ready to become a file's.

    Attributes:
        target: The file that is meant, with links followed.
        temporary: Where the content is until then; None if the file must be overwritten in place.
    """

    target: str
    data: bytes
    temporary: str | None

    def put(self) -> None:
        """Make it the file's content. Not a checkpoint.

        Raises:
            OSError: the file cannot be written; it is as it was, if it could be replaced.
        """
        if self.temporary is not None:
            try:
                Path(self.temporary).replace(self.target)
            except OSError:  # mounted by itself: it cannot be replaced, but it can be written
                if not Path(self.target).is_file():
                    raise
                self.discard()
            else:
                self.temporary = None
                return
        Path(self.target).write_bytes(self.data)

    def discard(self) -> None:
        """Remove what has not become the file's content. Not a checkpoint."""
        if self.temporary is not None:
            with suppress(FileNotFoundError):
                Path(self.temporary).unlink()
            self.temporary = None


def stage(path: str, data: bytes) -> Staged:
    """Prepare a file's new content beside it; blocks as long as writing takes.

    The new file has the old one's mode and extended attributes. Missing directories are made.

    Raises:
        OSError: it cannot be written; nothing has changed.
    """
    target = os.path.realpath(path)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        old = Path(target).stat()
    except FileNotFoundError:
        return Staged(target, data, _write_beside(target, data, None))
    if not os.access(target, os.W_OK):  # replacing it would not ask for this
        raise PermissionError(f"file is not writable: {path}")
    if old.st_nlink > 1:
        return Staged(target, data, None)
    try:
        temporary = _write_beside(target, data, (old.st_uid, old.st_gid))
    except PermissionError:
        return Staged(target, data, None)
    return Staged(target, data, temporary)


def _write_beside(target: str, data: bytes, owner: _Identity | None) -> str:
    """Write a new file in the target's directory; one with an owner takes after the target.

    Raises:
        PermissionError: the directory takes no file, or the file cannot be made its owner's.
    """
    name = str(Path(target).with_name(f".crush-{secrets.token_hex(8)}.tmp"))
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, NEW_FILE_MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            if owner is not None:
                made = os.fstat(handle)
                if owner != (made.st_uid, made.st_gid):
                    os.fchown(handle, *owner)
                shutil.copystat(target, name)
            file.write(data)  # after the copy, so that the time is that of the writing
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return name
