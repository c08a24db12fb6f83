"""A server that is cancelled from outside, as an embedding program may do."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import SessionID
from crush_trio.providers.scripted import Hang, Say, ScriptedModel
from history_kit import check_stream, told
from people_kit import Listener, desk
from world_kit import open_world


@pytest.mark.promise("W4", "R3", "R10")
async def test_a_server_that_is_cancelled_closes_its_workspaces_in_order_all_the_same(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The run is stored as cancelled before the store closes, and not left for the next start to
    find interrupted."""
    seen: list[tuple[Listener, SessionID]] = []
    with trio.fail_after(3600):
        with trio.CancelScope() as scope:
            model = ScriptedModel([Say("Half"), Hang()])
            async with open_world(tmp_path, model) as world, desk(world) as place:
                await place.session.submit("hello")
                await place.ear.wait_text("Half")
                seen.append((place.ear, place.session.id))
                scope.cancel("by the program around it")
                await trio.sleep_forever()
        ((ear, session_id),) = seen
        check_stream(ear.events)
        async with open_world(tmp_path) as world, world.visit() as workspace:
            stored = await workspace.session(session_id).messages()
            assert told(stored) == ["user stop hello", "assistant canceled Half"]
