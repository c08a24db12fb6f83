"""Secrets stay in (A2): a real server that logs all it can, searched for its token and its key."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.addresses import Address, parse_address
from crush_trio.cli.asking import Question, asker
from crush_trio.client import Client, SessionClient, WorkspaceClient, open_client
from crush_trio.errors import ProviderError
from crush_trio.providers.script import Call, Fail, Say
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server.model_script import open_model_server
from limits_kit import PROCESS_LIMIT
from process_kit import ServerProcess, open_server_process
from project_kit import config

TOKEN = "t0ken-that-nobody-may-read-anywhere"
KEY = "sk-k3y-that-nobody-may-read-anywhere"
SECRETS = (TOKEN, KEY)


@attrs.define(eq=False)
class Place:
    """A server that logs everything, its owner, and all that was heard of it."""

    server: ServerProcess
    address: Address
    client: Client
    heard: list[str] = attrs.field(factory=list[str])

    async def ask(self, protocol: str, token: str, target: str, method: str = "GET") -> str:
        """Put a raw question with a token."""
        shown = ("authorization", f"Bearer {token}")
        question = Question(method, target, self.address.authority, (shown,), b"{")
        return await asker(self.address, protocol)(question)

    @asynccontextmanager
    async def work(self) -> AsyncGenerator[tuple[WorkspaceClient, SessionClient]]:
        """Open a workspace and a session, and hear its events until the block is left."""
        async with self.client.open_workspace(str(self.server.directory), yolo=True) as workspace:
            session = await workspace.create_session("secrets")
            async with workspace.events() as events, trio.open_nursery() as nursery:

                async def hear() -> None:
                    while True:
                        self.heard.append((await events.receive_line()).decode())

                nursery.start_soon(hear)
                yield workspace, session
                nursery.cancel_scope.cancel("enough was heard")


def document(base_url: str) -> dict[str, Any]:
    """Return a configuration whose key is in the environment."""
    made = config(base_url)
    made["providers"]["scripted"]["api_key"] = "$MODEL_KEY"
    made["models"] = {"large": {"model": "scripted-1", "provider": "scripted"}}
    return made


@asynccontextmanager
async def open_place(tmp_path: Path, model: ScriptedModel) -> AsyncGenerator[Place]:
    """Run a server with a token and a model that needs a key; leaving the block searches its log."""
    arguments = ("--host", "tcp://127.0.0.1:0", "--debug")
    env = {"CRUSH_TRIO_TOKEN": TOKEN, "MODEL_KEY": KEY}
    with trio.fail_after(PROCESS_LIMIT):
        async with open_model_server(model) as url:
            opened = open_server_process(
                tmp_path, document=document(url), arguments=arguments, env=env
            )
            async with opened as server:
                place = server.log.decode().partition("listening at ")[2].split()[0]
                address = parse_address(place)
                async with open_client(address, token=TOKEN) as client:
                    yield Place(server, address, client)
                server.signal(signal.SIGTERM)
                assert await server.wait() == 0
                await wait_all_tasks_blocked(0.01)  # the last lines of its log are being read
    log = server.log.decode()
    assert " DEBUG " in log
    assert_clean(log)


def assert_clean(text: str) -> None:
    """Check that a text holds no secret."""
    lines = [line for line in text.splitlines() if any(secret in line for secret in SECRETS)]
    assert lines == []


@pytest.mark.promise("A2")
async def test_no_secret_is_in_the_most_detailed_log_or_in_an_event(tmp_path: Path) -> None:
    """Whatever is done: runs, tools, both protocols, right and wrong tokens, bad requests."""
    model = ScriptedModel(
        "Hello.",
        [Call("bash", {"command": 'echo "token=[$CRUSH_TRIO_TOKEN]"', "description": "look"})],
        "Done.",
        title="Title",
    )
    async with open_place(tmp_path, model) as place:
        async with place.work() as (workspace, session):
            assert (await session.prompt("hello")).text == "Hello."
            assert (await session.prompt("look")).text == "Done."
            assert any("token=[]" in line for line in place.heard)
            for protocol in ("http/1.1", "h2"):
                target = f"/v1/workspaces/{workspace.id}/agent"
                assert await place.ask(protocol, TOKEN, "/v1/version") == "200"
                assert await place.ask(protocol, TOKEN, target, "POST") == "400"
                assert await place.ask(protocol, TOKEN + "x", target) == "401"
        assert_clean("\n".join(place.heard))


@pytest.mark.promise("A2")
async def test_a_provider_that_quotes_the_key_does_not_give_it_away(tmp_path: Path) -> None:
    """Not in the answer to the prompt, nor in an event, nor in the log."""
    refusal = ProviderError(f"Incorrect API key provided: {KEY}", http_status=401)
    model = ScriptedModel(
        [Fail(refusal)],
        [Say("I begin"), Fail(ProviderError(f"the key {KEY} has run out"))],
    )
    async with open_place(tmp_path, model) as place:
        async with place.work() as (_, session):
            for _ in range(2):
                failed = await session.prompt("hello")
                assert failed.outcome == "failed"
                assert "key" in str(failed.error)
                assert_clean(str(failed.error))
            stored = repr(await session.messages())
        assert_clean(stored)
        assert_clean("\n".join(place.heard))
