"""``crush-trio logs``."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.cli.exits import ExitCode
from crush_trio.cli.tailing import LOG_FILE, readable, show_log
from crush_trio.errors import BadRequestError
from crush_trio.workspaces.logs import rotate


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log of a directory."""
    path = tmp_path / ".crush" / LOG_FILE
    path.parent.mkdir(parents=True)
    return path


def write(log: Path, text: str) -> None:
    """Append to a log, as a server does."""
    with log.open("a") as file:
        file.write(text)


def test_a_line_is_printed_for_people() -> None:
    """Time, level, message, and what else there is; what is no JSON as it came."""
    line = '{"time":"T","level":"WARN","source":{"line":1},"msg":"it broke","n":1,"error":"deep"}'
    assert readable(line) == "T WARN it broke n=1 error=deep"
    assert readable("panic: no") == "panic: no"
    assert readable("[1]") == "[1]"


def test_nothing_in_a_log_steers_the_terminal() -> None:
    """A model or a server may have said it."""
    assert "\x1b" not in readable('{"msg":"\\u001b[2J"}')
    assert "\x1b" not in readable("\x1b[2J")


async def test_the_last_lines_are_shown(log: Path, tmp_path: Path) -> None:
    """As many as asked for; a line that is not finished yet is not one."""
    write(log, "one\ntwo\nthree\nfo")
    shown: list[str] = []
    code = await show_log(str(tmp_path), tail=2, as_json=True, show=shown.append)
    assert (code, shown) == (ExitCode.OK, ["two", "three"])


async def test_a_directory_without_a_log_is_named(tmp_path: Path) -> None:
    """So that a wrong directory can be seen."""
    with pytest.raises(BadRequestError, match=rf"no log at {tmp_path}/\.crush/logs/crush\.log"):
        await show_log(str(tmp_path))


async def test_another_data_directory_can_be_named(tmp_path: Path) -> None:
    """As for every command that looks into one."""
    log = tmp_path / "elsewhere" / LOG_FILE
    log.parent.mkdir(parents=True)
    log.write_text("here\n")
    shown: list[str] = []
    await show_log(
        str(tmp_path), data_dir=str(tmp_path / "elsewhere"), as_json=True, show=shown.append
    )
    assert shown == ["here"]


async def test_a_log_is_followed_over_its_rotation(
    log: Path, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What comes is shown, in order: the rest of the old one, then the new one."""
    shown: list[str] = []
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            await show_log(str(tmp_path), follow=True, as_json=True, show=shown.append)

        nursery.start_soon(follow)
        await trio.sleep(1)
        assert shown == []
        write(log, "one\n")
        await trio.sleep(1)
        write(log, "two\n")
        rotate(log)
        write(log, "three\n")
        await trio.sleep(1)
        assert shown == ["one", "two", "three"]
        nursery.cancel_scope.cancel()
