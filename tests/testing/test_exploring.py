"""Many seeds: what only some orders of scheduling break is found, made small and shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

from crush_trio.providers.scripted import Call, Say
from crush_trio.testing import Place, open_place
from crush_trio.testing.exploring import explore
from crush_trio.testing.operations import Create, Join, Listen, Prompt, Sleep
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios import STANDARD
from crush_trio.testing.shrinking import smaller
from crush_trio.testing.tools import ScriptedTool
from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.tools.scripted import SLEEP_FOREVER


@pytest.fixture(name="place", scope="module")
def _place() -> Iterator[Place]:
    with open_place() as place:
        yield place


class Racing(ScriptedTool):
    """A tool that leaves a process running if its helper comes second."""

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:  # noqa: ARG002
        came: list[str] = []

        async def come(who: str) -> None:
            await trio.lowlevel.checkpoint()
            came.append(who)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come, "main")
            nursery.start_soon(come, "helper")
        if came[0] == "main":
            context.around.jobs.start("orphan", description="", working_dir="/", env={})
        return ToolAnswer("done")


PLANTED = Scenario(
    "a race",
    (
        Join("a"),
        Create(),
        Listen("a"),
        Sleep(7),
        Prompt("two", "r2"),
        Prompt("one", "r1"),
        Sleep(3),
    ),
    {"one": [[Say("A long tale.", pause=0.5), Call("race")], "Done."]},
    tools=(Racing("race"),),
    commands={"orphan": SLEEP_FOREVER},
)


def test_a_race_is_found_and_made_small(place: Place) -> None:
    """Some seeds show it, others do not; what is left of the story is what it needs."""
    found = explore(PLANTED, seeds=12, place=place)
    (failure,) = found.failures
    assert "processes are left: ['orphan']" in failure.complaints[0]
    assert failure.small.story == (Join("a"), Create(), Prompt("one", "r1"))
    assert explore(PLANTED, seeds=1, first=failure.seed, place=place).failures
    assert any(not explore(PLANTED, 1, first=seed, place=place).failures for seed in range(12))
    with pytest.raises(AssertionError, match=r"--crush-seed=\d+"):
        found.check()
    assert f"seed {failure.seed}" in str(found)
    assert "Prompt(text='one'" in str(found)


def test_the_standard_story_holds_in_every_order(place: Place) -> None:
    """Also when each seed lets something strike; thousands of seeds are a command's work."""
    explore(STANDARD, seeds=20, place=place).check()
    explore(STANDARD, seeds=20, strike=True, place=place).check()


def test_smaller_stories_drop_operations_and_shorten_delays() -> None:
    """Each is one change away; nothing else changes."""
    stories = list(smaller(PLANTED))
    assert len([each for each in stories if len(each.story) == len(PLANTED.story) - 1]) == 7
    delays = [each.story[3] for each in stories if len(each.story) == 7]
    assert Sleep(0.0) in delays
    assert Sleep(3.5) in delays


def test_nothing_played_is_not_a_success(place: Place) -> None:
    """An exploration of no seeds fails its check."""
    with pytest.raises(AssertionError, match="0 seeds"):
        explore(STANDARD, seeds=0, place=place).check()
