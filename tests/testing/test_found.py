"""What the sweep has found in the program, each as a test of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crush_trio.providers.scripted import Call, Say
from crush_trio.testing import Place, open_place, run
from crush_trio.testing.history import history_complaints
from crush_trio.testing.operations import Create, Join, Listen, Prompt, UntilStanding, UntilText
from crush_trio.testing.scenario import Gate, Scenario
from crush_trio.testing.tools import ScriptedTool
from crush_trio.wire.messages import WireMessage
from history_kit import finish_of

HERE = (Join("a"), Create(), Listen("a"))


@pytest.fixture(name="place", scope="module")
def _place() -> Iterator[Place]:
    with open_place() as place:
        yield place


@pytest.mark.promise("R9", "C2")
@pytest.mark.parametrize("cancelled", [False, True])
def test_an_end_that_fails_once_is_stored_at_the_second_try(
    place: Place, *, cancelled: bool
) -> None:
    """One write fails, and it is that of the end: the run has failed, or stays cancelled, and yet
    its answer is not left open until the next start, when every client waited for it in vain."""
    scenario = Scenario(
        "an end",
        (*HERE, Prompt("one", "r"), UntilText("All of it")),
        {"one": [[Say("All of it"), Gate("end")]]},
    )

    async def story() -> None:
        async with scenario.open(place) as core:
            for operation in scenario.story:
                await operation(core)
            (disk,), life, a = core.disks.all(), core.life, core.client("a")
            assert life is not None
            disk.failing = 1
            if cancelled:
                life.cancel(life.host.workspaces[0], "main")
            else:
                core.gate("end").set()
            (post,) = a.prompts
            reply = await core.done(post)
            assert disk.failed == 1
            assert (reply.status, reply.body.outcome) == (
                (200, "cancelled") if cancelled else (500, "failed")
            )
            stored = (await core.done(a.messages())).body
            assert not history_complaints(stored)
            assert stored[-1].finish.reason == ("canceled" if cancelled else "error")
            assert stored[-1].text == "All of it"
            seen = [e.payload for e in a.streams[0].events if isinstance(e.payload, WireMessage)]
            assert finish_of(seen[-1]) == stored[-1].finish.reason
            assert core.complaints == []

    run(story)


@pytest.mark.promise("R9", "C2")
def test_a_result_that_could_not_be_stored_is_stored_with_the_end(place: Place) -> None:
    """A call whose result was lost with the end of its turn gets one at the second try."""
    scenario = Scenario(
        "a call",
        (*HERE, Prompt("one", "r"), UntilStanding("tool")),
        {"one": [[Say("Look:"), Call("look")]]},
        tools=(ScriptedTool("look", seconds=5),),
    )

    async def story() -> None:
        async with scenario.open(place) as core:
            for operation in scenario.story:
                await operation(core)
            (disk,), life, a = core.disks.all(), core.life, core.client("a")
            assert life is not None
            await core.until(lambda: False, 1)  # it is at work
            disk.failing = 1
            life.cancel(life.host.workspaces[0], "main")
            await core.done(a.prompts[0])
            assert disk.failed == 1
            stored = (await core.done(a.messages())).body
            assert not history_complaints(stored)
            assert [message.role for message in stored] == ["user", "assistant", "tool"]

    run(story)
