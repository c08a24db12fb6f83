"""Many seeds: what only some orders of scheduling break is found, made small and shown."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
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
from user_kit import SOURCE, user_pytest


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


class Leaving(ScriptedTool):
    """A tool that leaves a process running when it is cancelled."""

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:
        try:
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            return await super().run(arguments, context)
        except trio.Cancelled:
            context.around.jobs.start("orphan", description="", working_dir="/", env={})
            raise


def test_what_only_a_strike_breaks_is_made_small_with_its_strike(place: Place) -> None:
    """The strike moves with the steps that are left, and the seed draws it again by itself."""
    cancels = frozenset({"cancel"})  # of all that may strike, what shows it
    planted = attrs.evolve(PLANTED, tools=(Leaving("race"),), disturbances=cancels)
    found = explore(planted, seeds=60, strike=True, place=place)
    failure = found.failures[0]
    assert failure.strike is not None
    assert failure.small_strike is not None
    assert failure.small_strike.disturbance == failure.strike.disturbance
    kinds = [type(operation) for operation in failure.small.story]
    assert kinds == [Join, Create, Prompt]
    assert f"seed {failure.seed}, {failure.strike}: processes are left" in str(found)
    assert f"with this complaint, {failure.small_strike}:" in str(found)
    (again,) = explore(planted, 1, first=failure.seed, strike=True, place=place).failures
    assert (again.strike, again.complaints) == (failure.strike, failure.complaints)


PROGRAM = """
from crush_trio.providers.scripted import Call, Say
from crush_trio.testing import Scenario, ScriptedTool, explore
from crush_trio.testing.operations import Create, Join, Prompt
from crush_trio.tools.base import ToolAnswer
import trio

class Racing(ScriptedTool):
    async def run(self, arguments, context):
        came = []

        async def come(who):
            await trio.lowlevel.checkpoint()
            came.append(who)

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(come, number)
        if came == [3, 1, 0, 2]:
            raise RuntimeError("the order of the day")
        return ToolAnswer("done")

MINE = Scenario(
    "mine",
    (Join("a"), Create(), Prompt("one", "r1")),
    {"one": [[Call("race")], "Done."]},
    tools=(Racing("race"),),
)
"""


@pytest.mark.parametrize("first", ["", ", first=0"])
async def test_the_line_of_a_program_plays_the_seed_again(tmp_path: Path, first: str) -> None:
    """Pasted into the shell, or into the program if that chooses its seeds itself."""
    (tmp_path / "mine.py").write_text(f"{PROGRAM}\nexplore(MINE, seeds=100{first}).check()\n")
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    del env["PYTEST_CURRENT_TEST"]

    async def said(*command: str) -> str:
        with trio.fail_after(60):
            done = await trio.run_process(
                command, capture_stderr=True, check=False, cwd=tmp_path, env=env
            )
        assert done.returncode == 1
        return done.stderr.decode()

    shown = await said(sys.executable, "mine.py")
    (seed,) = re.findall(r"^seed (\d+): ", shown, re.MULTILINE)
    (line,) = re.findall(r"^again: (.*)$", shown, re.MULTILINE)
    assert seed != "0", "the first seed shows nothing of a replay"
    if first:
        assert line == f"explore(scenario, seeds=1, first={seed}).check()"
        line = line.replace("scenario", "MINE")
        (tmp_path / "again.py").write_text(f"{PROGRAM}\n{line}\n")
        again = await said(sys.executable, "again.py")
        assert "1 seeds" in again
    else:
        again = await said("sh", "-c", line)
    assert re.findall(r"^seed (\d+): ", again, re.MULTILINE) == [seed]


async def test_the_line_of_a_test_plays_the_seed_again_though_it_names_none(tmp_path: Path) -> None:
    test = f"{PROGRAM}\ndef test_mine():\n    explore(MINE, seeds=100).check()\n"
    shown = (await user_pytest(tmp_path, test)).text
    (seed,) = re.findall(r"^E +seed (\d+): ", shown, re.MULTILINE)
    assert f"again: pytest test_mine.py::test_mine --crush-seed={seed}\n" in shown
    again = (await user_pytest(tmp_path, test, f"--crush-seed={seed}")).text
    assert seed != "0"
    assert re.findall(r"^E +seed (\d+): ", again, re.MULTILINE) == [seed]


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
