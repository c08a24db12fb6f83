"""Decisions by people, through HTTP and in virtual time: two clients, late ones, and cancels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.providers.scripted import Answer, Call, ScriptedModel
from crush_trio.wire.events import PermissionNotification
from crush_trio.wire.permissions import GrantAction, PermissionRequest
from history_kit import check_history, check_stream, told
from people_kit import Desk, Listener, desk, listening, noticed
from world_kit import World, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""


def writing(name: str) -> Answer:
    """Return an answer that writes a file, which asks first."""
    return [Call("write", {"file_path": name, "content": "x"}, id=f"call {name}")]


async def request_of(ear: Listener, number: int = 1) -> PermissionRequest:
    """Wait for a permission request, counted from 1."""
    await ear.wait(lambda _: len(ear.of("permission_request")) >= number)
    return ear.of("permission_request")[number - 1]


def asked(call: str) -> PermissionNotification:
    return PermissionNotification(call, granted=False, denied=False)


def decided(call: str, *, granted: bool) -> PermissionNotification:
    return PermissionNotification(call, granted=granted, denied=not granted)


@pytest.mark.promise("D1", "S2")
@pytest.mark.parametrize(
    ("first", "second"), [("allow", "deny"), ("deny", "allow"), ("deny", "allow_session")]
)
async def test_the_first_answer_wins_and_everybody_learns_of_it(
    autojump_clock: MockClock, tmp_path: Path, first: GrantAction, second: GrantAction
) -> None:
    """Both clients are asked, both answer; the second is told that it came too late, and even a
    losing "allow for the session" leaves nothing behind."""
    granted = first != "deny"
    script: dict[str, Answer] = {"hello": writing("f"), "again": writing("g")}
    model = ScriptedModel(respond=lambda request: script.get(request.messages[-1].text))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as a, world.visit() as b:
            async with listening(b, plain=True) as ear_b, world.prompt(a.session, "hello") as call:
                request = await request_of(a.ear)
                assert await request_of(ear_b) == request
                assert not (world.directory / "f").exists()
                answers = [await a.workspace.grant(request, first), await b.grant(request, second)]
                assert answers == [True, False]
                assert (await call.reply()).status == 200
                await ear_b.wait_complete()
                assert (world.directory / "f").exists() == granted
                for ear in (a.ear, ear_b):
                    assert ear.of("permission_notification") == [
                        asked("call f"),
                        decided("call f", granted=granted),
                    ]
                    check_stream(ear.events)
                await a.session.submit("again")  # asks again, whatever the loser wanted
                assert (await request_of(a.ear, 2)).tool_call_id == "call g"


@pytest.mark.promise("D1")
async def test_of_many_answers_in_the_same_moment_exactly_one_counts(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Ten clients answer at once; what happened is what the one answer that counted said."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, desk(world) as a:
            for turn in range(6):
                await check_answers(world, a, f"file {turn}", turn + 1)


async def check_answers(world: World, place: Desk, name: str, number: int) -> None:
    """Let ten clients answer one request."""
    assert isinstance(world.model, ScriptedModel)
    world.model.then(writing(name))
    submitted = await place.session.submit("hello")
    request = await request_of(place.ear, number)
    counted: list[GrantAction] = []

    async def answer(action: GrantAction) -> None:
        async with world.visit() as workspace:
            if await workspace.grant(request, action):
                counted.append(action)

    actions: list[GrantAction] = ["allow", "deny"]
    async with trio.open_nursery() as nursery:
        for client in range(10):
            nursery.start_soon(answer, actions[client % 2])
    (winner,) = counted
    await place.ear.wait_complete(submitted.run_id)
    assert (world.directory / name).exists() == (winner == "allow")
    assert place.ear.of("permission_notification")[-2:] == [
        asked(f"call {name}"),
        decided(f"call {name}", granted=winner == "allow"),
    ]


@pytest.mark.promise("D1")
async def test_an_allow_for_the_session_is_remembered(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The winner's, for this session only."""
    model = ScriptedModel(writing("f"), writing("g"), "done", writing("h"))
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            await place.session.submit("hello")
            assert await place.workspace.grant(await request_of(place.ear), "allow_session")
            await place.ear.wait_complete()
            assert (world.directory / "g").exists()
            assert len(place.ear.of("permission_request")) == 1
            other = await place.workspace.create_session("Other")
            await other.submit("hello")
            assert (await request_of(place.ear, 2)).session_id == other.id


@pytest.mark.promise("D2")
@pytest.mark.parametrize("plain", [True, False])
async def test_a_client_that_comes_late_sees_the_open_request_first_and_can_answer_it(
    autojump_clock: MockClock, tmp_path: Path, *, plain: bool
) -> None:
    """Right after its 200, before anything newer, by events or in its ``hello``; one that comes
    after the answer sees none."""
    model = ScriptedModel(writing("f"), "done")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            async with world.prompt(place.session, "hello") as call:
                request = await request_of(place.ear)
                async with world.visit() as late, listening(late, plain=plain) as ear:
                    await late.create_session("Newer")
                    await ear.wait(lambda event: event.type == "session")
                    assert [event.payload for event in ear.events[:2]] == [asked("call f"), request]
                    assert await late.grant(request, "allow")
                    assert (await call.reply()).json["text"] == "done"
                    async with listening(late, plain=plain) as later:
                        await late.create_session("Last")
                        await later.wait(lambda event: event.type == "session")
                        assert later.of("permission_request") == []
            assert (world.directory / "f").exists()


async def cancel(world: World, place: Desk) -> None:
    await place.session.cancel()


async def delete(world: World, place: Desk) -> None:
    await place.session.delete()


async def stop(world: World, place: Desk) -> None:
    await world.stop()


@pytest.mark.promise("D3", "S2", "R9", "R5")
@pytest.mark.parametrize("end", [cancel, delete, stop])
async def test_the_request_of_a_run_that_ends_early_is_withdrawn_on_every_client(
    autojump_clock: MockClock, tmp_path: Path, end: Callable[[World, Desk], Awaitable[None]]
) -> None:
    """Everybody hears a denial before the run's end; an answer after that does not count."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, ScriptedModel(writing("f"))) as world, desk(world) as a:
            async with world.visit() as b, listening(b) as ear_b:
                async with world.prompt(a.session, "hello") as call:
                    request = await request_of(ear_b)
                    await end(world, a)
                    assert (await call.reply()).json["cancelled"] is True
                for ear in (a.ear, ear_b):
                    await ear.wait_complete()
                    assert ear.of("permission_notification") == [
                        asked("call f"),
                        decided("call f", granted=False),
                    ]
                    order = [event.type for event in ear.events]
                    last = len(order) - order[::-1].index("permission_notification") - 1
                    assert last < order.index("run_complete")
                    check_stream(ear.events)
                if end is not stop:
                    assert not await b.grant(request, "allow")
                if end is cancel:
                    assert told(await a.session.messages())[-1].startswith("tool")
                    check_history(await a.session.messages())
            assert not (world.directory / "f").exists()


@pytest.mark.promise("D2", "D3", "R12")
async def test_one_request_is_open_at_a_time_and_a_cancel_lets_the_next_one_ask(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Two sessions want to write: the second asks when the first has been answered or withdrawn."""
    model = ScriptedModel(writing("f"), writing("g"), "done")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            other = await place.workspace.create_session("Other")
            await place.session.submit("hello")
            await request_of(place.ear)
            await other.submit("hello")
            await noticed()
            assert len(place.ear.of("permission_request")) == 1
            await place.session.cancel()
            second = await request_of(place.ear, 2)
            assert second.session_id == other.id
            assert await place.workspace.grant(second, "allow")
            await place.ear.wait_complete(number=2)
            assert not (world.directory / "f").exists()
            assert (world.directory / "g").exists()


@pytest.mark.promise("D1")
async def test_a_skip_grants_what_comes_and_not_what_is_open(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Switching it on answers no open request; from the next call on nobody is asked."""
    model = ScriptedModel(writing("f"), writing("g"), "done")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            await place.session.submit("hello")
            request = await request_of(place.ear)
            await place.workspace.skip_permissions(skip=True)
            assert await place.workspace.skips_permissions()
            await noticed()
            assert not (world.directory / "f").exists()
            assert await place.workspace.grant(request, "allow")
            await place.ear.wait_complete()
            assert (world.directory / "g").exists()
            assert place.ear.of("permission_request") == [request]
