"""Changes that a cancel strikes: the old file or the new one, and nothing beside it.

The steps are the scheduler's. Every step of each tool is struck once, with a fresh file.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import SessionID
from crush_trio.tools.files import LARGE
from limits_kit import REAL_LIMIT
from tools_kit import Toolbox, open_toolbox

OLD, NEW = "one\ntwo\n", "one\nTWO\n"

EDIT: dict[str, Any] = {"old_string": "two", "new_string": "TWO"}

CALLS: dict[str, dict[str, Any]] = {
    "write": {"content": NEW},
    "edit": EDIT,
    "multiedit": {"edits": [EDIT]},
}


class Strike(trio.abc.Instrument):
    """Cancels a scope before the scheduler's step with this number, if it comes that far."""

    def __init__(self, scope: trio.CancelScope, at: int) -> None:
        self.count = 0
        self._scope = scope
        self._at = at

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 -- any task's
        if self.count == self._at:
            self._scope.cancel("struck")
        self.count += 1


@contextmanager
def striking(scope: trio.CancelScope, at: int) -> Generator[Strike]:
    """Count the steps inside of the block, and cancel the scope before one of them."""
    instrument = Strike(scope, at)
    trio.lowlevel.add_instrument(instrument)
    try:
        yield instrument
    finally:
        trio.lowlevel.remove_instrument(instrument)


@attrs.frozen
class Left:
    """What a cancelled call leaves."""

    content: str
    names: list[str]
    versions: list[str]
    struck: bool
    cancelled: bool


async def strike(directory: Path, tool: str, at: int) -> Left:
    """Call a tool, cancel it before this step, and look at what is left."""
    path = directory / "a.txt"
    path.write_text(OLD)
    async with open_toolbox(directory) as box:
        await box.call("view", file_path="a.txt")
        scope = trio.CancelScope()
        with striking(scope, at) as instrument, scope:
            await box.call(tool, file_path="a.txt", **CALLS[tool])
        await settled(box)
        stored = await box.store.file_versions(box.context.session_id)
    return Left(
        path.read_text(),
        names(directory),
        [file.content for file in stored],
        instrument.count > at,
        scope.cancelled_caught,
    )


def names(directory: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(found.name for found in directory.iterdir())


async def settled(box: Toolbox) -> None:
    """Wait until all that was posted to the store is committed."""
    await box.store.current_session(SessionID("any")).wait()


@pytest.mark.parametrize("tool", list(CALLS))
async def test_a_cancel_finds_the_old_file_or_the_new_one(
    tmp_path: Path, autojump_clock: MockClock, tool: str
) -> None:
    """Whenever it strikes, and the history says what the disk says."""
    outcomes: set[tuple[str, bool]] = set()
    at, struck = 0, True
    with trio.fail_after(5):
        while struck:
            left = await strike(tmp_path, tool, at)
            assert left.names == ["a.txt"]
            assert left.content in (OLD, NEW)
            assert left.versions == ([OLD, NEW] if left.content == NEW else [])
            outcomes.add((left.content, left.cancelled))
            at, struck = at + 1, left.struck
    assert {(OLD, True), (NEW, False)} <= outcomes
    assert (OLD, False) not in outcomes


async def test_a_cancel_waits_for_the_thread_that_prepares_a_large_file(tmp_path: Path) -> None:
    """Then it is as with small ones: the steps on both sides of each thread are struck."""
    path, large = tmp_path / "a.txt", ("x" * 999 + "\n") * (LARGE // 900)
    outcomes: set[bool] = set()
    at, struck = 0, True
    with trio.fail_after(REAL_LIMIT):
        while struck:
            path.unlink(missing_ok=True)
            async with open_toolbox(tmp_path) as box:
                scope = trio.CancelScope()
                with striking(scope, at) as instrument, scope:
                    await box.call("write", file_path="a.txt", content=large)
            outcomes.add(path.exists())
            assert names(tmp_path) == (["a.txt"] if path.exists() else [])
            assert not path.exists() or path.read_text() == large
            at, struck = at + 1, instrument.count > at
    assert outcomes == {False, True}
