"""The lock of a file is one program's at a time, and whoever waits for it gets it."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from crush_trio.filelock import try_lock, wait_lock


async def test_a_lock_is_waited_for_until_its_holder_closes_the_file(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Looked at each pause; two openings of one file are as two programs."""
    path = tmp_path / "lock"
    with trio.fail_after(5), path.open("w") as ours:
        with path.open("w") as theirs:
            assert try_lock(theirs.fileno())
            assert not try_lock(ours.fileno())
            with trio.move_on_after(1) as patience:
                await wait_lock(ours.fileno(), 0.25)
            assert patience.cancelled_caught
        began = trio.current_time()
        await wait_lock(ours.fileno(), 0.25)
        assert trio.current_time() == began
        with path.open("w") as third:
            assert not try_lock(third.fileno())


async def test_whoever_is_cancelled_takes_no_lock(tmp_path: Path) -> None:
    """A wait that was cancelled before it began leaves the lock to others."""
    with (tmp_path / "lock").open("w") as ours, (tmp_path / "lock").open("w") as theirs:
        with trio.CancelScope() as scope:
            scope.cancel("test")
            await wait_lock(ours.fileno(), 0.25)
        assert scope.cancelled_caught
        assert try_lock(theirs.fileno())
