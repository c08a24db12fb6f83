"""The client has a method for every route, and each of them understands what the server answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from crush_trio.client import Client, SessionClient, WorkspaceClient
from crush_trio.errors import ResponseError
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server.app import make_app
from crush_trio.settings import Settings
from crush_trio.wire.config import SelectedModel
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import QuestionItem, QuestionRequest
from limits_kit import REAL_LIMIT
from world_kit import World, open_world


def table() -> Any:
    """Return the server's route table."""
    host: Any = None  # no handler is called
    return make_app(host, Settings()).url_map


def routes() -> set[tuple[str, str]]:
    """Return all routes: method and rule."""
    return {
        (method, rule.rule)
        for rule in table().iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def used(world: World) -> set[tuple[str, str]]:
    """Return the routes that have been asked."""
    paths = table().bind("t")
    found = set[tuple[str, str]]()
    for each in world.traffic.seen:
        rule, _ = paths.match(each.path, each.method, return_rule=True)
        found.add((each.method, rule.rule))
    return found


@contextmanager
def refused(*statuses: int) -> Generator[None]:
    """Expect that the server refuses, and that the client tells how."""
    with pytest.raises(ResponseError) as caught:
        yield
    assert caught.value.status in statuses
    assert str(caught.value)


@asynccontextmanager
async def open_place(tmp_path: Path) -> AsyncGenerator[tuple[World, Client]]:
    async with open_world(tmp_path, ScriptedModel("one", "two")) as world:
        async with world.client() as client:
            yield world, client


async def ask_server(client: Client) -> None:
    await client.health()
    assert (await client.version()).version
    assert await client.config() == {}
    assert "paths" in await client.openapi()
    with refused(409):
        await client.control("shutdown")
    with refused(400):
        await client.control("dance")


async def ask_workspace(client: Client, workspace: WorkspaceClient) -> None:
    assert [each.id for each in await client.workspaces()] == [workspace.id]
    assert (await workspace.get()).id == workspace.id
    assert (await workspace.config()).providers
    async with workspace.events() as events:
        await workspace.select_session("s")
        assert (await anext(events)).type == "hello"
    assert (await workspace.agent()).is_ready
    await workspace.init_agent(interactive=True)
    await workspace.update_agent()
    assert (await workspace.default_small_model("scripted")).model == "scripted-1"
    await workspace.skip_permissions(skip=True)
    assert await workspace.skips_permissions()
    assert not await workspace.grant(PermissionRequest("nobody asked"), "allow")
    item = QuestionItem(id="i", type="yes_no", question="well?")
    batch = QuestionRequest(id="q", session_id="s", tool_call_id="c", questions=(item,))
    assert not await workspace.answer_questions(batch, [])
    assert not await workspace.refuse_questions()


async def ask_session(workspace: WorkspaceClient, session: SessionClient) -> None:
    assert (await session.prompt("hello")).text == "one"
    assert not (await session.state()).is_busy
    assert (await session.queued(), await session.queue()) == (0, [])
    await session.clear_queue()
    assert (await session.cancel()).settled
    assert [m.text for m in await session.messages()] == ["hello", "one"]
    assert len(await session.user_messages()) == len(await workspace.user_messages()) == 1
    await session.summarize()
    assert (await session.get()).summary_message_id
    assert (await session.rename("another")).title == "another"
    assert [s.title for s in await workspace.sessions()] == ["another"]
    done = await session.shell("echo hello")
    assert (done.output.strip(), done.exit_code) == ("hello", 0)
    assert await session.history() == []
    assert await session.last_read("/p/a") is None
    await session.record_read("/p/a")
    assert await session.read_files() == ["/p/a"]
    assert await session.last_read("/p/a") is not None


async def ask_settings(workspace: WorkspaceClient) -> None:
    settings = workspace.settings
    assert "anthropic" in [provider.id for provider in await settings.providers()]
    await settings.set("options.notifications", "bell", scope="workspace")
    await settings.remove("options.notifications", scope="workspace")
    await settings.choose_model("large", SelectedModel("scripted-1", "scripted"))
    await settings.set_compact_mode(enabled=True)
    await settings.store_key("scripted", "sk-123456")
    config = await workspace.config()
    assert config.models["large"].model == "scripted-1"
    assert await settings.import_copilot() is None
    with refused(400, 501):
        await settings.refresh_token("scripted")


async def ask_parts(workspace: WorkspaceClient) -> None:
    project = workspace.project
    assert await project.needs_init()
    await project.mark_asked()
    assert not await project.needs_init()
    assert "AGENTS.md" in await project.init_prompt()
    assert isinstance(await project.skills(), list)
    with refused(400):
        await project.read_skill("no such skill")
    assert await workspace.lsp.states() == {}
    with refused(404):
        await workspace.lsp.diagnostics("gopls")
    await workspace.lsp.start("/p/a.py")
    await workspace.lsp.stop()


async def ask_mcp(workspace: WorkspaceClient) -> None:
    mcp = workspace.mcp
    assert await mcp.states() == {}
    assert await mcp.prompts() == []
    assert await mcp.pending_auth() == []
    assert await mcp.auth_url("docs") is None
    for refresh in (mcp.refresh_tools, mcp.refresh_prompts, mcp.refresh_resources):
        await refresh("docs")
    await mcp.disable_docker()
    with refused(400):
        await mcp.enable_docker()
    with refused(400):
        await mcp.auth("docs")
    with refused(400):
        await mcp.get_prompt("docs", "p", {"a": "b"})
    with refused(400):
        await mcp.read_resource("docs", "file:///a")


async def test_there_is_a_method_for_every_route(tmp_path: Path) -> None:
    """A route without one is a route that only the wire contract's readers can use."""
    with trio.fail_after(REAL_LIMIT):  # in real time: some routes use a thread or a process
        async with open_place(tmp_path) as (world, client):
            await ask_server(client)
            async with client.open_workspace(str(world.directory), linger=True) as workspace:
                await ask_workspace(client, workspace)
                session = await workspace.create_session("first")
                await ask_session(workspace, session)
                await ask_settings(workspace)
                await ask_parts(workspace)
                await ask_mcp(workspace)
                await session.delete()
                await workspace.release()
            await client.retire()
            asked = used(world)
    assert routes() - asked == set()
