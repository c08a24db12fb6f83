"""The client against the real server, in virtual time; and what the twin must do as the server does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock

from crush_trio.client import Client, WorkspaceClient, open_client
from crush_trio.errors import ResponseError
from crush_trio.providers.script import Hang, Say
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.wire.events import RunComplete
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.runs import AgentMessage, RunAccepted, RunResult
from crush_trio.wire.sessions import Session
from twin_kit import Reply, open_twin
from world_kit import open_world


@attrs.frozen
class Site:
    """A server, the real one or its twin, whose model says ``Hello``."""

    client: Client
    directory: str

    def visit(self) -> AbstractAsyncContextManager[WorkspaceClient]:
        """Open the workspace."""
        return self.client.open_workspace(self.directory, linger=True)


class Opener(Protocol):
    """Opens a site."""

    def __call__(self, tmp_path: Path, /) -> AbstractAsyncContextManager[Site]:
        """Open it."""
        ...


@asynccontextmanager
async def open_real(tmp_path: Path) -> AsyncGenerator[Site]:
    """Open the real server."""
    async with open_world(tmp_path, ScriptedModel("Hello", "Hello")) as world:
        async with world.client() as client:
            yield Site(client, str(world.directory))


@asynccontextmanager
async def open_substitute(tmp_path: Path) -> AsyncGenerator[Site]:
    """Open the twin."""
    async with open_twin() as twin, open_client(connect=twin.connect) as client:

        def on_prompt(prompt: AgentMessage) -> Reply | None:
            twin.say(prompt.session_id, "user", prompt.prompt)
            message_id = twin.say(prompt.session_id, "assistant", "")
            twin.say(
                prompt.session_id, "assistant", "Hello", message_id=message_id, finish="end_turn"
            )
            twin.complete(prompt, message_id=message_id, text="Hello")
            if prompt.run_id:
                return None
            return 200, RunResult(
                "r1",
                prompt.session_id,
                "completed",
                cancelled=False,
                message_id=message_id,
                text="Hello",
            )

        twin.on_prompt = on_prompt
        yield Site(client, str(tmp_path))


both = pytest.mark.parametrize("opener", [open_real, open_substitute])


@both
async def test_an_open_post_answers_the_result(
    autojump_clock: MockClock, tmp_path: Path, opener: Opener
) -> None:
    """What the caller waits for is there when it is told so."""
    with trio.fail_after(30):
        async with opener(tmp_path) as site, site.visit() as workspace:
            session = await workspace.create_session("Greetings")
            result = await session.prompt("hi")
            assert (result.outcome, result.text, result.cancelled) == ("completed", "Hello", False)
            stored = await session.messages()
            assert [(each.role, each.text) for each in stored] == [
                ("user", "hi"),
                ("assistant", "Hello"),
            ]
            assert stored[-1].id == result.message_id


@both
async def test_a_submitted_prompt_is_told_from_its_beginning_to_its_end(
    autojump_clock: MockClock, tmp_path: Path, opener: Opener
) -> None:
    """R8, S4: the prompt, then the answer, then the end, which names the run."""
    with trio.fail_after(30):
        async with opener(tmp_path) as site, site.visit() as workspace:
            session = await workspace.create_session("Greetings")
            async with workspace.events() as events:
                accepted = await session.submit("hi")
                assert isinstance(accepted, RunAccepted)
                told: list[str] = []
                end = RunComplete("", "")
                async for event in events:
                    if isinstance(event.payload, WireMessage):
                        told.append(event.payload.role)
                    if isinstance(event.payload, RunComplete):
                        end = event.payload
                        break
            assert (told[0], set(told[1:])) == ("user", {"assistant"})
            assert (end.run_id, end.text) == (accepted.run_id, "Hello")


@both
async def test_unknown_things_are_named(
    autojump_clock: MockClock, tmp_path: Path, opener: Opener
) -> None:
    """C4: 400 for a session, 404 for the workspace and nothing else."""
    with trio.fail_after(30):
        async with opener(tmp_path) as site, site.visit() as workspace:
            with pytest.raises(ResponseError, match="session 'none'") as refused:
                await workspace.session("none").get()
            assert refused.value.status == 400
            assert await workspace.session("none").messages() == []
            assert not await workspace.grant(PermissionRequest(id="none"), "allow")
            assert (await workspace.session("none").cancel()).runs == ()
            gone = site.client.workspace(msgspec.structs.replace(workspace.info, id="none"))
            with pytest.raises(ResponseError, match="workspace not found") as lost:
                await gone.agent()
            assert lost.value.status == 404


@both
async def test_open_workspaces_are_listed(
    autojump_clock: MockClock, tmp_path: Path, opener: Opener
) -> None:
    """How a command finds the workspace of a directory."""
    with trio.fail_after(30):
        async with opener(tmp_path) as site, site.visit() as workspace:
            await site.client.health()
            assert [each.id for each in await site.client.workspaces()] == [workspace.id]
            assert (await workspace.agent()).is_ready


async def test_sessions_are_kept_renamed_and_deleted(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The routes of sessions and what they answer."""
    with trio.fail_after(30):
        async with open_real(tmp_path) as site, site.visit() as workspace:
            session = await workspace.create_session("One")
            other = await workspace.create_session("Two")
            assert {each.title for each in await workspace.sessions()} == {"One", "Two"}
            assert (await session.rename("First")).title == "First"
            await session.prompt("hi")
            assert [each.text for each in await session.user_messages()] == ["hi"]
            assert [each.text for each in await workspace.user_messages()] == ["hi"]
            assert not (await session.state()).is_busy
            await other.delete()
            [left] = await workspace.sessions()
            assert isinstance(left, Session)
            assert left.id == session.id


async def test_waiting_prompts_are_shown_and_cleared(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The queue, and the receipt of a cancel that covers what runs."""
    model = ScriptedModel([Say("Working"), Hang()])
    with trio.fail_after(30):
        async with open_world(tmp_path, model) as world, world.visit() as workspace:
            session = await workspace.create_session("Queue")
            first = await session.submit("work")
            await session.submit("later")
            assert (await session.queued(), await session.queue()) == (1, ["later"])
            assert (await session.state()).is_busy
            await session.clear_queue()
            assert (await session.queued(), await session.queue()) == (0, [])
            receipt = await session.cancel(wait=20)
            assert [(run.run_id, run.outcome) for run in receipt.runs] == [
                (first.run_id, "cancelled")
            ]
            assert receipt.settled


async def test_the_rest_of_the_vocabulary_is_understood(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Every other route, once: it is there, and its answer is of the type that is promised."""
    with trio.fail_after(30):
        async with open_real(tmp_path) as site, site.visit() as workspace:
            client = site.client
            assert (await client.version()).version
            assert await client.config() == {}
            with pytest.raises(ResponseError, match="hosting live workspaces") as refused:
                await client.control("shutdown_if_idle")
            assert refused.value.status == 409
            assert (await workspace.get()).path == workspace.info.path
            assert "scripted" in ((await workspace.config()).providers or {})
            await workspace.init_agent(interactive=True)
            await workspace.update_agent()
            assert not await workspace.skips_permissions()
            await workspace.skip_permissions(skip=True)
            assert await workspace.skips_permissions()
            async with workspace.events():
                await workspace.select_session("any")
            await client.retire()
            with pytest.raises(ResponseError, match="retired"):
                async with site.visit():
                    pytest.fail("entered")
