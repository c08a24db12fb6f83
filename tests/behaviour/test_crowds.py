"""Many at once, over real sockets with the real store: nobody is refused, nobody is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from crush_trio.client.session import SessionClient
from crush_trio.providers.scripted import Hang, Say, ScriptedModel
from history_kit import check_history, check_stream
from limits_kit import REAL_LIMIT
from people_kit import Call, Listener, desk, listening
from serving_kit import Reply
from world_kit import World, open_served_world

CROWD = 100


async def prompt_all(
    world: World, stack: AsyncExitStack, sessions: Sequence[SessionClient]
) -> list[Call]:
    """Send one prompt for each session, each on a connection of its own, all before any answer."""
    return [
        await stack.enter_async_context(world.prompt(session, f"prompt {number}"))
        for number, session in enumerate(sessions)
    ]


async def replies_of(calls: Sequence[Call]) -> list[Reply]:
    """Wait for all answers, side by side."""
    replies: list[Reply] = []

    async def read(call: Call) -> None:
        replies.append(await call.reply())

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(read, call)
    return replies


@pytest.mark.promise("R1", "R8", "R12", "R14", "S2")
async def test_a_hundred_sessions_prompted_at_once_are_all_answered(tmp_path: Path) -> None:
    """Each gets its own run's text; ten readers hear of every end; the server lives on."""
    model = ScriptedModel(respond=lambda request: f"to {request.messages[-1].text}")
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, network="tcp") as world:
            async with desk(world) as place, AsyncExitStack() as stack:
                ears: list[Listener] = [
                    await stack.enter_async_context(listening(place.workspace)) for _ in range(10)
                ]
                sessions = [await place.workspace.create_session(f"S{n}") for n in range(CROWD)]
                replies = await replies_of(await prompt_all(world, stack, sessions))
                assert [reply.status for reply in replies] == [200] * CROWD
                number_of = {session.id: number for number, session in enumerate(sessions)}
                assert all(
                    reply.json["text"] == f"to prompt {number_of[reply.json['session_id']]}"
                    for reply in replies
                )
                runs = {reply.json["run_id"] for reply in replies}
                assert len(runs) == CROWD
                for ear in ears:
                    await ear.wait_complete(number=CROWD)
                    assert {done.run_id for done in ear.completions()} == runs
                    check_stream(ear.events)
            assert (await world.request("GET", "/v1/health")).status == 200


@pytest.mark.promise("R4", "R5", "R11", "R15")
async def test_a_hundred_runs_cancelled_at_once_all_answer_200(tmp_path: Path) -> None:
    """All are streaming when each is cancelled by somebody else."""
    model = ScriptedModel(respond=lambda _: [Say("Half"), Hang()])
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model) as world, desk(world) as place:
            sessions = [await place.workspace.create_session(f"S{n}") for n in range(CROWD)]
            async with AsyncExitStack() as stack:
                calls = await prompt_all(world, stack, sessions)
                await model.wait_request(CROWD)
                assert (await place.workspace.agent()).is_busy
                covered: list[str] = []

                async def cancel(session: SessionClient) -> None:
                    receipt = await session.cancel(wait=10)
                    assert receipt.settled
                    covered.extend(run.run_id for run in receipt.runs)

                async with trio.open_nursery() as nursery:
                    for session in sessions:
                        nursery.start_soon(cancel, session)
                replies = await replies_of(calls)
            assert {(reply.status, reply.json["outcome"]) for reply in replies} == {
                (200, "cancelled")
            }
            assert sorted(covered) == sorted(reply.json["run_id"] for reply in replies)
            assert not (await place.workspace.agent()).is_busy
            await place.ear.wait_complete(number=CROWD)
            check_stream(place.ear.events)
            for session in sessions[:10]:
                check_history(await session.messages())


@pytest.mark.promise("R4", "R5", "R12", "R15")
async def test_one_cancel_answers_a_hundred_posts_of_one_session(tmp_path: Path) -> None:
    """One runs, the others wait; the receipt names each of them once."""
    model = ScriptedModel([Say("Half"), Hang()], "next")
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model) as world, desk(world) as place:
            async with AsyncExitStack() as stack:
                calls = [
                    await stack.enter_async_context(
                        world.prompt(place.session, "hello", run_id=f"r{n}", prefer="wait=60")
                    )
                    for n in range(CROWD)
                ]
                await model.wait_request(1)
                while await place.session.queued() < CROWD - 1:
                    pass  # each look is a request of its own
                receipt = await place.session.cancel(wait=10)
                replies = await replies_of(calls)
            assert [reply.status for reply in replies] == [200] * CROWD
            assert all(reply.json["cancelled"] for reply in replies)
            assert {run.outcome for run in receipt.runs} == {"cancelled"}
            assert sorted(run.run_id for run in receipt.runs) == sorted(
                f"r{n}" for n in range(CROWD)
            )
            assert (await place.session.prompt("next")).text == "next"
            assert len(model.requests) == 2
