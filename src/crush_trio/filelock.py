"""Waiting for the lock of a file that other programs take, too. Knows no file.

The lock belongs to the open file: closing it gives it back, and the system closes a dead
program's, so that none is ever stale.
"""

from __future__ import annotations

import fcntl

import trio


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file if nobody holds it; return whether it is ours. Not a checkpoint.

    Raises:
        OSError: the file cannot be locked at all.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def wait_lock(descriptor: int, pause: float) -> None:
    """Take the lock of an open file. Waits, looking again each ``pause`` seconds, without a bound.

    Always a checkpoint, and none once it is ours.

    Raises:
        OSError: as for :func:`try_lock`.
    """
    await trio.lowlevel.checkpoint()
    while not try_lock(descriptor):  # noqa: ASYNC110  other programs set no event
        await trio.sleep(pause)
