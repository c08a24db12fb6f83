"""The log of a data directory (agent contract 3.10)."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crush_trio.providers.failures import status_error
from crush_trio.providers.scripted import Fail, ScriptedModel
from crush_trio.workspaces.logs import (
    LOG_FILE,
    OLD_LOGS,
    ROTATE_BYTES,
    enter_log,
    log_line,
    open_log,
    rotate,
)
from world_kit import open_world

logger = logging.getLogger("crush_trio.test")


def lines(directory: Path) -> list[dict[str, Any]]:
    """Return the lines of a data directory's log."""
    return [json.loads(line) for line in (directory / LOG_FILE).read_text().splitlines()]


def test_a_line_has_the_members_of_crushs_logs() -> None:
    """Time, level, source and message; an error with its history."""
    try:
        json.loads("deep")
    except ValueError:
        record = logging.LogRecord(
            "crush_trio.x", logging.WARNING, "/p/x.py", 7, "it %s", ("broke",), sys.exc_info(), "f"
        )
        line = json.loads(log_line(record))
        assert line["time"].endswith("Z")
        assert (line["level"], line["msg"]) == ("WARN", "it broke")
        assert line["source"] == {"function": "crush_trio.x.f", "file": "/p/x.py", "line": 7}
        assert "JSONDecodeError" in line["error"]


async def test_a_record_belongs_to_the_directory_that_its_task_has_entered(tmp_path: Path) -> None:
    """Not to another one that is open too, and not to any if its task has entered none."""
    places = [tmp_path / name for name in ("a", "b")]
    for place in places:
        place.mkdir()

    async def work(place: Path) -> None:
        enter_log(place)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, place.name)

    async def say(text: str) -> None:
        await trio.lowlevel.checkpoint()
        logger.warning("from %s", text)

    with open_log(places[0]), open_log(places[1]):
        async with trio.open_nursery() as nursery:
            for place in places:
                nursery.start_soon(work, place)
        logger.warning("from nobody")
    logger.warning("after the end")
    for place in places:
        assert [line["msg"] for line in lines(place)] == [f"from {place.name}"]
        assert (place / LOG_FILE).stat().st_mode & 0o777 == 0o600


async def test_a_log_of_10_mb_becomes_an_old_one(tmp_path: Path) -> None:
    """Three of them are kept."""
    (tmp_path / "logs").mkdir()
    path = tmp_path / LOG_FILE
    path.write_bytes(b"x" * (ROTATE_BYTES - 10) + b"\n")
    enter_log(tmp_path)
    with open_log(tmp_path):
        logger.warning("one too many")
        assert not path.exists()
        logger.warning("fresh")
    assert [line["msg"] for line in lines(tmp_path)] == ["fresh"]
    for _ in range(OLD_LOGS + 1):
        path.write_text("newer\n")
        rotate(path)
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == [f"crush.log.{number}" for number in range(1, OLD_LOGS + 1)]


@pytest.mark.promise("C3")
async def test_a_log_that_cannot_be_written_fails_nobody(tmp_path: Path) -> None:
    """Nor is a data directory made for it."""
    nowhere = tmp_path / "nowhere"
    enter_log(nowhere)
    with open_log(nowhere):
        logger.warning("lost")
    assert not nowhere.exists()


@pytest.mark.promise("C3")
async def test_what_cannot_say_what_it_is_fails_nobody_who_logs_it(tmp_path: Path) -> None:
    """Nor does half a surrogate pair, of which the rest of the line is worth having."""

    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    enter_log(tmp_path)
    with open_log(tmp_path):
        *_, handler = logging.getLogger("crush_trio").handlers
        for args in ((SpeechlessError(),), ("\udcff",)):
            handler.handle(
                logger.makeRecord("crush_trio.test", logging.WARNING, "f", 1, "%s!", args, None)
            )
    assert [line["msg"] for line in lines(tmp_path)] == ["?!"]


@pytest.mark.promise("A2")
async def test_a_run_that_fails_is_in_the_log_of_its_directory(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With its reason, and without what was prompted."""
    caplog.set_level(logging.INFO, "crush_trio")
    model = ScriptedModel(Fail(status_error(401, "bad key")))
    with trio.fail_after(3600):
        async with open_world(tmp_path, model) as world, world.client() as client:
            async with client.open_workspace(str(world.directory)) as workspace:
                session = await workspace.create_session("s")
                assert (await session.prompt("a private prompt")).outcome == "failed"
            told = lines(world.directory / ".crush")
    assert any("bad key" in line["msg"] for line in told)
    assert "a private prompt" not in json.dumps(told)
    assert f"is open: {world.directory}" in told[0]["msg"]
