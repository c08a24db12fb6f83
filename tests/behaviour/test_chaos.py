"""Many clients who do what comes into their heads, in virtual time; what is promised holds all the same."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.client.session import SessionClient
from crush_trio.client.workspace import WorkspaceClient
from crush_trio.errors import ResponseError
from crush_trio.ids import SessionID, new_id
from crush_trio.providers.base import ModelRequest
from crush_trio.providers.failures import status_error
from crush_trio.providers.scripted import Answer, Call, Fail, Pause, Say, ScriptedModel, Think
from crush_trio.wire.runs import CoveredRun
from history_kit import check_history, check_stream
from people_kit import Listener, listening
from serving_kit import Reply
from world_kit import World, open_world

CLIENTS = 4
DEEDS = 25
"""Things that each client does."""

BROKEN = "the model is broken"


@attrs.define(eq=False)
class Protocol:
    """What has happened, as far as clients were told."""

    replies: list[tuple[str, Reply]] = attrs.field(factory=list[tuple[str, Reply]])
    receipts: list[tuple[str, CoveredRun]] = attrs.field(factory=list[tuple[str, CoveredRun]])
    listeners: list[Listener] = attrs.field(factory=list[Listener])
    deleted: set[str] = attrs.field(factory=set[str])
    shared: list[str] = attrs.field(factory=lambda: [new_id() for _ in range(10)])


class Client:
    """One client and its moods."""

    def __init__(
        self, world: World, dice: random.Random, sessions: list[SessionID], protocol: Protocol
    ) -> None:
        self.world = world
        self.dice = dice
        self.sessions = sessions
        self.protocol = protocol

    async def live(self) -> None:
        """Do many things, then leave without a word."""
        async with self.world.visit() as workspace, trio.open_nursery() as nursery:
            for _ in range(DEEDS):
                deed = self.dice.choice(
                    [self.prompt] * 5
                    + [self.cancel] * 2
                    + [self.listen, self.clear, self.grant, self.look, self.delete]
                )
                nursery.start_soon(deed, workspace)
                await trio.sleep(self.dice.choice([0, 0, 0.01, 0.3, 2]))
            nursery.cancel_scope.deadline = trio.current_time() + 600

    def session(self, workspace: WorkspaceClient) -> SessionClient:
        return workspace.session(self.dice.choice(self.sessions))

    def shared_id(self) -> str:
        """Return a run id that others may use as well, for the same prompt."""
        return self.dice.choice(self.protocol.shared)

    async def prompt(self, workspace: WorkspaceClient) -> None:
        """Prompt, and wait for the answer, or hang up some time."""
        run_id = self.dice.choice(["", new_id(), self.shared_id()])
        prefer = self.dice.choice(["", "wait=300", "wait=1", "respond-async"])
        patience = self.dice.choice([0.02, 1, 400, 400])
        session = self.session(workspace)
        async with self.world.prompt(session, "hello", run_id=run_id, prefer=prefer) as call:
            with trio.move_on_after(patience) as waiting:
                self.protocol.replies.append((session.id, await call.reply()))
            if waiting.cancelled_caught:
                call.drop()

    async def cancel(self, workspace: WorkspaceClient) -> None:
        session = self.session(workspace)
        receipt = await session.cancel(wait=self.dice.choice([None, 1, 300]))
        self.protocol.receipts.extend((session.id, run) for run in receipt.runs)

    async def clear(self, workspace: WorkspaceClient) -> None:
        await self.session(workspace).clear_queue()

    async def look(self, workspace: WorkspaceClient) -> None:
        await self.session(workspace).messages()
        await workspace.agent()

    async def listen(self, workspace: WorkspaceClient) -> None:
        """Read events for a while."""
        with trio.move_on_after(self.dice.choice([0.1, 3, 50])):
            async with listening(workspace, plain=self.dice.random() < 0.5) as ear:
                self.protocol.listeners.append(ear)
                await trio.sleep_forever()

    async def grant(self, workspace: WorkspaceClient) -> None:
        """Answer whatever is asked first."""
        with trio.move_on_after(20):
            async with listening(workspace) as ear:
                asked = await ear.wait(lambda event: event.type == "permission_request")
                await workspace.grant(
                    asked.payload, self.dice.choice(["allow", "allow_session", "deny"])
                )

    async def delete(self, workspace: WorkspaceClient) -> None:
        """Delete a session and make another one, rarely."""
        if self.dice.random() < 0.5:
            return
        place = self.dice.randrange(len(self.sessions))
        session = workspace.session(self.sessions[place])
        self.protocol.deleted.add(session.id)
        self.sessions[place] = (await workspace.create_session("Another")).id
        with suppress(ResponseError):  # somebody else may have been quicker
            await session.delete()


def moody(dice: random.Random) -> ScriptedModel:
    """Return a model that is in a different mood each time."""

    def respond(request: ModelRequest) -> Answer:
        if request.messages[-1].role == "tool":
            return dice.choice(["Done.", [Call("ls")], Fail(status_error(400, BROKEN))])
        answers: list[Answer] = [
            "Quick.",
            [Think("Hm."), Say("one two three four", pause=0.4)],
            [Say("Look."), Call("ls"), Call("ls", {"path": "."})],
            [Call("write", {"file_path": f"f{dice.random()}", "content": "x"})],
            [Say("Half"), Fail(status_error(400, BROKEN))],
            [Say("Half"), Pause(1), Fail(status_error(503, BROKEN))],
            Fail(status_error(429, BROKEN)),
            [Say("Long."), Pause(dice.choice([5, 60]))],
            [Call("nonsense", "{"), Call("ls", "[1]")],
        ]
        return dice.choice(answers)

    return ScriptedModel(respond=respond)


@pytest.mark.promise(
    "R1", "R2", "R4", "R5", "R7", "R8", "R9", "R10", "R13", "R14", "R15", "R16", "S4", "C3"
)
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_clients_do_the_promises_hold(
    autojump_clock: MockClock, tmp_path: Path, seed: int
) -> None:
    """One witness hears everything. All that anybody was told of a run agrees with what it heard;
    and what is stored in the end is well formed."""
    dice, protocol = random.Random(seed), Protocol()
    with trio.fail_after(100_000):
        async with open_world(tmp_path, moody(dice)) as world:
            async with world.visit() as workspace, AsyncExitStack() as stack:
                witness = await stack.enter_async_context(listening(workspace, plain=seed % 2 == 0))
                sessions = [(await workspace.create_session(f"S{n}")).id for n in range(3)]
                known = list(sessions)
                async with trio.open_nursery() as nursery:
                    for _ in range(CLIENTS):
                        nursery.start_soon(Client(world, dice, sessions, protocol).live)
                known += sessions
                for session in sessions:
                    await workspace.session(session).cancel(wait=60)
                (hosted,) = world.host.workspaces
                await hosted.wait_idle()
                assert not (await workspace.agent()).is_busy
                for session in set(known):
                    check_history(await workspace.session(session).messages())
                await world.stop()
                await witness.ended.wait()
            check_told(protocol, witness)


def check_told(protocol: Protocol, witness: Listener) -> None:
    """Check that everybody was told the same."""
    ended: dict[tuple[str, str], str] = {}
    for done in witness.completions():
        outcome = "cancelled" if done.cancelled is True else "failed" if done.error else "completed"
        assert (done.session_id, done.run_id) not in ended
        ended[done.session_id, done.run_id] = outcome
    check_stream(witness.events)
    for listener in protocol.listeners:
        assert not listener.cut
        check_stream(listener.events)
    for session, reply in protocol.replies:
        check_reply(session, reply, ended, protocol.deleted)
    for session, run in protocol.receipts:
        assert run.outcome in {None, "cancelled"}
        assert ended.get((session, run.run_id), "cancelled") == "cancelled"  # a folded one has none


def check_reply(
    session: str, reply: Reply, ended: dict[tuple[str, str], str], deleted: set[str]
) -> None:
    """Check one answer against what the witness heard."""
    match reply.status:
        case 200:
            body = reply.json
            turn = body.get("folded_into", body["run_id"])
            assert ended[session, turn] == body["outcome"], body
            assert body["cancelled"] == (body["outcome"] == "cancelled")
        case 202 | 409:
            pass
        case 400:
            assert session in deleted
        case 500:
            assert BROKEN in reply.json["message"] or session in deleted, reply.json
        case _:
            raise AssertionError(reply)
