"""Logins: whose token has run out gets another, once and for everybody (agent contract 1.3, 1.19, 3.9)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock

from crush_trio.config import Endpoint
from crush_trio.errors import ProviderError
from crush_trio.providers.base import Provider
from crush_trio.providers.script import Fail
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.providers.tokens import LoginEndedError
from crush_trio.wire.config import Token
from crush_trio.wire.events import AgentEvent
from crush_trio.workspaces import Equipment
from people_kit import Desk, desk, listening, noticed
from project_kit import config
from world_kit import EPOCH, World, open_world

HOUR = 3600


@attrs.define
class Counter:
    """Where tokens come from: each a number, good for an hour, after a while."""

    given: list[Token] = attrs.field(factory=list[Token])
    headers: dict[str, str] = attrs.field(factory=dict[str, str])
    ended: bool = False

    async def __call__(
        self, provider_id: str, token: Token, headers: Mapping[str, str], now: float
    ) -> Token:
        self.headers = dict(headers)
        await trio.sleep(1)
        if self.ended:
            raise LoginEndedError(f"the login of {provider_id} has ended: log in again")
        name = f"new-{len(self.given) + 1}"
        self.given.append(Token(name, token.refresh_token, HOUR, int(now) + HOUR))
        return self.given[-1]


@attrs.define
class Bank:
    """A world with a login, the keys that its provider was asked with, and where tokens come from."""

    world: World
    place: Desk
    home: Path
    counter: Counter
    keys: list[str]

    @property
    def user_file(self) -> Path:
        return self.home / ".local/share/crush/crush.json"

    def entry(self, provider_id: str = "scripted") -> Any:
        return json.loads(self.user_file.read_text())["providers"][provider_id]

    async def post(self, route: str, body: object = None) -> Any:
        path = f"/v1/workspaces/{self.place.workspace.id}/config/{route}"
        reply = await self.world.request("POST", path, body)
        return reply.status, reply.json if reply.body else None


def login(expires_at: int, name: str = "old") -> dict[str, Any]:
    token = Token(name, "r3fresh", HOUR, expires_at)
    return {"api_key": name, "oauth": msgspec.to_builtins(token)}


@asynccontextmanager
async def open_bank(
    tmp_path: Path, *answers: Any, expires_at: int = EPOCH + HOUR, linked: bool = False
) -> AsyncGenerator[Bank]:
    """Open it; the login is in the user's file."""
    user_file = tmp_path / "home/.local/share/crush/crush.json"
    user_file.parent.mkdir(parents=True)
    user_file.write_text(json.dumps({"providers": {"scripted": login(expires_at)}, "mine": 1}))
    if linked:
        catalogue = [
            {
                "id": "copilot",
                "type": "openai-compat",
                "api_endpoint": "http://copilot.invalid",
                "models": [{"id": "c"}],
                "default_headers": {"Editor-Version": "x/1"},
            }
        ]
        (user_file.parent / "providers.json").write_text(json.dumps(catalogue))
    model, counter, keys = ScriptedModel(*answers), Counter(), list[str]()

    @asynccontextmanager
    async def lend(endpoint: Endpoint) -> AsyncGenerator[Provider]:
        keys.append(endpoint.api_key)
        await trio.lowlevel.checkpoint()
        yield model

    def opener(endpoint: Endpoint) -> AbstractAsyncContextManager[Provider]:
        return lend(endpoint)

    def equip(equipment: Equipment) -> Equipment:
        return attrs.evolve(equipment, open_provider=opener, exchange_token=counter)

    with trio.fail_after(24 * HOUR):
        async with (
            open_world(tmp_path, model, document=config(), equip=equip) as world,
            desk(world) as place,
        ):
            yield Bank(world, place, tmp_path / "home", counter, keys)


async def test_an_expired_token_is_renewed_before_it_is_used(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It is stored where Crush finds it, clients hear of it, and the next prompt has it already."""
    async with open_bank(tmp_path, "a", "title", "b", expires_at=EPOCH - 1) as bank:
        await bank.place.session.prompt("hello")
        await bank.place.session.prompt("again")
        assert bank.keys == ["new-1"]
        assert len(bank.counter.given) == 1
        assert bank.entry() == {
            "api_key": "new-1",
            "oauth": msgspec.to_builtins(bank.counter.given[0]),
        }
        assert json.loads(bank.user_file.read_text())["mine"] == 1
        assert len(bank.place.ear.of("config_changed")) == 1
        assert (bank.home / ".local/share/crush/locks/scripted.refresh.lock").exists()


async def test_a_token_that_is_refused_is_renewed_and_the_request_made_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whatever it said of its end."""
    refusal = Fail(ProviderError("no", http_status=401))
    async with open_bank(tmp_path, refusal, "a", "title") as bank:
        assert (await bank.place.session.prompt("hello")).text == "a"
        assert bank.keys == ["old", "new-1"]


async def test_a_token_that_another_program_has_renewed_is_taken(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A refresh token may be good for one use only."""
    async with open_bank(tmp_path, "a", "title", expires_at=EPOCH - 1) as bank:
        newer = {"scripted": login(EPOCH + HOUR, "theirs")}
        bank.user_file.write_text(json.dumps({"providers": newer}))
        await bank.place.session.prompt("hello")
        assert bank.keys == ["theirs"]
        assert bank.counter.given == []


async def test_sessions_that_find_it_expired_at_the_same_time_renew_it_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The second waits for the first, and takes what that has stored."""
    async with open_bank(tmp_path, expires_at=EPOCH - 1) as bank:
        other = await bank.place.workspace.create_session("Other")
        async with trio.open_nursery() as nursery:
            for session in (bank.place.session, other):
                nursery.start_soon(session.prompt, "hello")
        assert len(bank.counter.given) == 1
        assert bank.keys == ["new-1"]


@pytest.mark.promise("R7", "A2")
async def test_a_login_that_has_ended_fails_the_run_and_is_told(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The old token is tried; its refusal says to log in again."""
    refusal = Fail(ProviderError("no", http_status=401))
    async with open_bank(tmp_path, refusal, refusal, expires_at=EPOCH - 1) as bank:
        bank.counter.ended = True
        result = await bank.place.session.prompt("hello")
        assert (result.outcome, "log in again" in str(result.error)) == ("failed", True)
        await noticed()
        told = bank.place.ear.of("agent_event")
        assert AgentEvent(type="re_authenticate", provider_id="scripted") in told
        assert bank.entry() == login(EPOCH - 1)


@pytest.mark.promise("R2")
async def test_r53_a_renewal_is_the_workspaces_and_not_its_clients(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A client that leaves in the middle loses no refresh token; one that stays is answered 200."""
    async with open_bank(tmp_path) as bank:
        path = f"/v1/workspaces/{bank.place.workspace.id}/config/refresh-oauth"
        async with (
            listening(bank.place.workspace) as ear,
            bank.world.call("POST", path, {"provider_id": "scripted"}),
        ):
            await trio.sleep(0.5)  # virtual: in the middle of the exchange
            assert ear.of("config_changed") == []
        await trio.sleep(2)
        assert bank.entry()["api_key"] == "new-1"
        assert await bank.post("refresh-oauth", {"provider_id": "scripted"}) == (200, None)
        assert bank.entry()["api_key"] == "new-2"


async def test_r52_a_login_of_copilot_is_taken_over(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """From where GitHub's own plug-ins keep it, shown as the catalogue says."""
    async with open_bank(tmp_path, linked=True) as bank:
        place = bank.home / ".config/github-copilot/apps.json"
        place.parent.mkdir(parents=True)
        assert await bank.post("import-copilot") == (200, {"token": None, "success": False})
        place.write_text(json.dumps({"github.com:Iv1.x": {"user": "u", "oauth_token": "gho"}}))
        token = msgspec.to_builtins(Token("new-1", "gho", HOUR, EPOCH + HOUR))
        status, told = await bank.post("import-copilot")
        assert (status, told["success"], told["token"]["access_token"]) == (200, True, "new-1")
        assert bank.entry("copilot")["oauth"]["refresh_token"] == token["refresh_token"]
        assert bank.counter.headers == {"Editor-Version": "x/1"}
        await noticed()
        assert len(bank.place.ear.of("config_changed")) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"github.com": 5}', '{"github.com": {"oauth_token": 5}}']
)
async def test_r52_a_file_that_holds_no_login_is_none(
    autojump_clock: MockClock, tmp_path: Path, text: str
) -> None:
    """As if it were not there."""
    async with open_bank(tmp_path, linked=True) as bank:
        place = bank.home / ".config/github-copilot/hosts.json"
        place.parent.mkdir(parents=True)
        place.write_text(text)
        assert await bank.post("import-copilot") == (200, {"token": None, "success": False})
