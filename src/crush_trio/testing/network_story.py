"""What two clients of a simulated world do, one of them over connections that may break at any step.

The weak one prompts, and asks again with the same run id whenever it is not told (R16); it listens
through :class:`~crush_trio.client.LastingEvents`. The calm one listens, answers permissions, and
cancels if the story says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from crush_trio.client import Client, EventStream, SessionClient, WorkspaceClient
from crush_trio.errors import ResponseError, ServerUnavailableError
from crush_trio.providers.scripted import Answer, ScriptedModel
from crush_trio.testing.model import plain_answer, said_last, scripted_model
from crush_trio.testing.strikes import HARMLESS, WEAK
from crush_trio.testing.world import World
from crush_trio.tools.scripted import Script
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.runs import RunResult

ATTEMPT = 20.0
"""Virtual seconds for which the weak client waits for one answer."""

PAUSE = 0.25
"""Virtual seconds between two of its attempts."""

AGAIN = "are you still there?"
"""The prompt that must work whatever has happened (R13)."""


@attrs.frozen
class Story:
    """What happens.

    Attributes:
        name: What reports call it.
        prompts: What the weak client posts, with the seconds after which it does.
        answers: What the model answers to each, request by request.
        cancel_after: Seconds after which the calm client cancels; None for never.
        commands: What the shell knows.
    """

    name: str
    prompts: Sequence[tuple[float, str]]
    answers: Mapping[str, Sequence[Answer]] = attrs.field(factory=dict[str, Sequence[Answer]])
    cancel_after: float | None = None
    commands: Mapping[str, Script] = attrs.field(factory=dict[str, Script])

    def model(self) -> ScriptedModel:
        """Return a model that answers so."""
        return scripted_model(self.answers)


@attrs.define(eq=False)
class Told:
    """What clients were told in one run of a story.

    Attributes:
        results: The weak client's, by run id.
        heard: What the calm client's stream told.
        ended: Whether that stream came to a proper end; None if it was still going on.
        refusals: What was answered an error.
        begun: The run ids of the prompts that the model was asked about.
        complaints: What was wrong at the end.
    """

    results: dict[str, RunResult] = attrs.field(factory=dict[str, RunResult])
    heard: list[Event] = attrs.field(factory=list[Event])
    ended: bool | None = None
    refusals: list[str] = attrs.field(factory=list[str])
    begun: set[str] = attrs.field(factory=set[str])
    complaints: list[str] = attrs.field(factory=list[str])


async def play(world: World, story: Story, told: Told) -> str:
    """Let a story happen; return its session's id, or nothing if there is no session."""
    session_id = ""
    with suppress(ServerUnavailableError, ResponseError):  # as those are whose server has ended
        async with world.visit(linger=True) as calm:
            session = await calm.create_session("main")
            session_id = session.id
            async with calm.events() as stream, trio.open_nursery() as ears:
                ears.start_soon(_listen, calm, stream, told)
                async with trio.open_nursery() as nursery:
                    if story.cancel_after is not None:
                        nursery.start_soon(_cancel, session, story.cancel_after)
                    nursery.start_soon(_be_weak, world, story, calm, session_id, told)
                await trio.sleep(1)  # the last that readers are told
                ears.cancel_scope.cancel("the story is over")
    told.begun = _begun(world, story)
    return session_id


def _begun(world: World, story: Story) -> set[str]:
    script = world.model.model
    assert isinstance(script, ScriptedModel)
    asked = {said_last(request) for request in script.requests}
    return {f"run-{number}" for number, (_, text) in enumerate(story.prompts) if text in asked}


async def _listen(calm: WorkspaceClient, stream: EventStream, told: Told) -> None:
    """Hear everything, and allow what is asked."""
    try:
        async for event in stream:
            told.heard.append(event)
            if isinstance(event.payload, PermissionRequest):
                with suppress(ServerUnavailableError, ResponseError):
                    await calm.grant(event.payload, "allow")
        told.ended = True
    except ServerUnavailableError:
        told.ended = False


async def _cancel(session: SessionClient, seconds: float) -> None:
    await trio.sleep(seconds)
    with suppress(ServerUnavailableError, ResponseError):
        await session.cancel(wait=10)


async def _be_weak(
    world: World, story: Story, calm: WorkspaceClient, session_id: str, told: Told
) -> None:
    async def prompt(number: int, seconds: float, text: str) -> None:
        await trio.sleep(seconds)
        await _persist(world, calm, session_id, text, f"run-{number}", told)

    async with trio.open_nursery() as nursery:
        ear = trio.CancelScope()
        nursery.start_soon(_hear, world, calm, ear)
        async with trio.open_nursery() as prompts:
            for number, (seconds, text) in enumerate(story.prompts):
                prompts.start_soon(prompt, number, seconds, text)
        ear.cancel("the story is over")


async def _hear(world: World, calm: WorkspaceClient, scope: trio.CancelScope) -> None:
    """Listen, and come back whenever the connection is lost."""
    with scope:
        async with world.client(label=WEAK) as client:
            await _hear_again(client, calm)


async def _hear_again(client: Client, calm: WorkspaceClient) -> None:
    while True:
        with suppress(ServerUnavailableError, ResponseError):
            async with client.workspace(calm.info).lasting_events() as events:
                async for _ in events:
                    pass
        await trio.sleep(PAUSE)


async def _persist(
    world: World, calm: WorkspaceClient, session_id: str, text: str, run_id: str, told: Told
) -> None:
    """Prompt, and ask again until there is a result, or no server any more.

    Every attempt is a client of its own: on HTTP/2 the next one would wait on the same connection.
    """
    while not world.server.ended.is_set():
        try:
            async with world.client(label=WEAK) as client:
                session = client.workspace(calm.info).session(session_id)
                with trio.move_on_after(ATTEMPT):
                    told.results[run_id] = await session.prompt(text, run_id=run_id)
                    return
        except ServerUnavailableError:
            await trio.sleep(PAUSE)
        except ResponseError as error:
            told.refusals.append(f"{error.status} {error}")
            return


async def look(world: World, session_id: str, told: Told) -> None:
    """See that the session works, if need be on a new server.

    The scripted model refuses a history that is not well formed (R9).
    """
    if world.server.stopping:
        await world.server.ended.wait()
        await world.start()
    async with world.visit() as calm:
        session = calm.session(session_id)
        again = await session.prompt(AGAIN, run_id="again")
        if again.text != plain_answer(AGAIN):
            told.complaints.append(f"the next prompt gets {again} (R13)")


def check(story: Story, strike: str, first: Told, struck: Told) -> list[str]:
    """Return what is wrong with what clients were told in a run that was struck."""
    found = list(struck.complaints)
    ends = [event.payload for event in struck.heard if isinstance(event.payload, RunComplete)]
    ids = [end.run_id for end in ends]
    if len(ids) != len(set(ids)):
        found.append(f"a run was told to have ended twice: {ids} (R8)")
    for run_id, result in struck.results.items():
        if result.run_id != run_id:
            found.append(f"{run_id} was answered as {result.run_id} (R14)")
    if strike in HARMLESS and story.cancel_after is None:
        found += _differences(first, struck)
    if strike in HARMLESS | {"cancel"}:
        if set(ids) != set(first.results):
            found.append(f"ends of {ids} were told to a reader that nothing struck (R8)")
        if missing := set(first.results) - set(struck.results):
            found.append(f"{sorted(missing)} were never answered (R4, R16)")
        found += [f"a prompt was refused: {each}" for each in struck.refusals]
    if strike in {"cancel", "server stop"}:
        found += [
            f"{result.run_id} is {result.outcome} (R4, R7)"
            for result in struck.results.values()
            if result.outcome not in {"completed", "cancelled"}
        ]
    if strike == "server stop":
        found += _check_stop(struck, set(ids))
    return found


def _differences(first: Told, struck: Told) -> list[str]:
    """Return which runs came to something else because of a connection (R2)."""
    return [
        f"{run_id} is {struck.results[run_id]}, and was {result} (R2)"
        for run_id, result in first.results.items()
        if run_id in struck.results
        and (struck.results[run_id].outcome, struck.results[run_id].text)
        != (result.outcome, result.text)
    ]


def _check_stop(struck: Told, ends: set[str]) -> list[str]:
    """Check a stop: what had begun is answered and told, streams end properly (R4, R8, S6)."""
    found = [f"refused at the stop: {each}" for each in struck.refusals if each[:3] not in _CLOSING]
    if missing := struck.begun - set(struck.results):
        found.append(f"{sorted(missing)} had begun and were not answered at the stop (R4)")
    if missing := struck.begun - ends:
        found.append(f"the ends of {sorted(missing)} were not told at the stop (R8)")
    if struck.ended is False:
        found.append("a stream was cut by the stop (S6)")
    return found


_CLOSING = {"404", "409", "503"}
"""How a server that stops refuses what comes too late (W4)."""
