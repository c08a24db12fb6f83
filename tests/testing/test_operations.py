"""A story's operations do what they say, and end whatever has happened meanwhile."""

from __future__ import annotations

import pytest
import trio

from crush_trio.providers.scripted import Hang, Say
from crush_trio.testing import open_place, run
from crush_trio.testing.core import PATIENCE, Core
from crush_trio.testing.operations import (
    Create,
    FillDisk,
    Join,
    Kill,
    Listen,
    Open,
    Operation,
    Prompt,
    Read,
    Release,
    Start,
    UntilSettled,
    UntilStanding,
    UntilText,
)
from crush_trio.testing.scenario import Gate, Scenario

HERE = (Join(), Create(), Listen())


def test_a_full_disk_fails_the_run_whose_end_it_cannot_take() -> None:
    """As many writes fail as were asked for, and everything has settled behind it (C2)."""
    story = (*HERE, Prompt("one"), UntilText("All"), FillDisk(), Open("end"), UntilSettled())
    scenario = Scenario("a full disk", story, {"one": [[Say("All"), Gate("end")]]})

    async def play() -> None:
        with open_place() as place:
            async with scenario.open(place) as core:
                for operation in scenario.story:
                    await operation(core)
                (disk,), (post,) = core.disks.all(), core.client("a").prompts
                assert (disk.failing, disk.failed) == (0, 1)
                assert [run.outcome for run in core.runs] == ["failed"]
                assert (await core.done(post)).status == 500

    run(play)


async def _dead(core: Core) -> None:
    """Let a run hang, and kill its server."""
    for operation in (*HERE, Prompt("one"), UntilText("All"), Kill()):
        await operation(core)


@pytest.mark.parametrize(
    "operation",
    [
        *(Join(), Release(), Create(), Listen(), Prompt("two"), Read(), FillDisk()),
        *(UntilText("more"), UntilStanding("tool"), UntilSettled(), Open("end")),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_an_operation_without_a_server_ends(operation: Operation) -> None:
    """Nobody waits for what cannot come any more; the story goes on with the next server."""
    scenario = Scenario("a kill", (), {"one": [[Say("All"), Hang()]]})

    async def play() -> None:
        with open_place() as place:
            async with scenario.open(place) as core:
                await _dead(core)
                with trio.fail_after(PATIENCE + 1):
                    await operation(core)
                await Start()(core)
                assert core.life is not None

    run(play)
