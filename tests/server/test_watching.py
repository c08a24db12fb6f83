"""The monitor of a real server: what is logged, and what is counted."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from crush_trio.monitor import Monitor
from crush_trio.observer import SILENT
from crush_trio.providers.scripted import Call, Say, ScriptedModel
from crush_trio.server.model_script import open_model_server
from crush_trio.server.watching import TOLD_IN_FULL, watching
from limits_kit import PROCESS_LIMIT
from people_kit import desk
from process_kit import open_server_process
from project_kit import config


def test_a_server_that_did_not_ask_is_not_watched() -> None:
    """And imports nothing for it."""
    with watching(asked=False) as observer:
        assert observer is SILENT


def test_violations_are_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The first ones in full, the others by a line, and their number at the end."""
    caplog.set_level(logging.INFO)
    with watching(asked=True) as observer:
        assert isinstance(observer, Monitor)
        for _ in range(TOLD_IN_FULL + 1):
            observer.workspace_closed(object(), 0)
    first, *_, late, last = [record.getMessage() for record in caplog.records][1:]
    assert first.startswith("a promise was broken: W1: ")
    assert "before it:\n  1 closed 0 left" in first
    assert "\n" not in late
    assert last == f"the monitor saw {TOLD_IN_FULL + 1} violations in {TOLD_IN_FULL + 1} happenings"


async def test_serve_with_a_monitor_says_at_its_end_that_nothing_was_broken(tmp_path: Path) -> None:
    """A prompt with a tool, a reader with deltas, a cancel: of a whole server, in its own process."""
    model = ScriptedModel(Call("ls", {"path": "."}), "done", [Say("on and on", pause=60)])
    with trio.fail_after(PROCESS_LIMIT):
        async with open_model_server(model) as base_url:
            served = open_server_process(
                tmp_path, document=config(base_url), arguments=("--monitor",)
            )
            async with served as server:
                async with desk(server, yolo=True) as at:
                    assert (await at.session.prompt("go")).text == "done"
                    await at.session.submit("on", run_id="r")
                    await at.ear.wait_text("on")
                    await at.session.cancel(wait=5)
                    await at.ear.wait_complete("r")
                server.process.terminate()
                await server.process.wait()
            log = server.log.decode()
    assert "the monitor watches this server" in log
    assert "the monitor saw 0 violations in " in log
