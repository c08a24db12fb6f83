"""Keys that run out: the command is run again and the request made once more (agent contract 1.19)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from crush_trio.agent.renewing import RenewingProvider
from crush_trio.config import Endpoint, renew_endpoint, resolve
from crush_trio.errors import ConfigError, ProviderError
from crush_trio.providers.base import ModelMessage, ModelRequest, Provider
from crush_trio.providers.script import Fail
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.wire.config import Model

REQUEST = ModelRequest(model="m", messages=[ModelMessage("user", text="hello")])


def refused(status: int = 401) -> Fail:
    return Fail(ProviderError("expired", http_status=status))


@asynccontextmanager
async def streaming(provider: Provider) -> AsyncGenerator[list[object]]:
    with trio.fail_after(5):
        async with provider.stream(REQUEST) as deltas:
            yield [delta async for delta in deltas]


class Locksmith:
    """Gives out the next provider, if there is one."""

    def __init__(self, *providers: Provider) -> None:
        self.left = list(providers)
        self.asked = 0

    async def __call__(self) -> Provider | None:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        return self.left.pop(0) if self.left else None


async def test_a_request_that_is_refused_is_made_again_with_the_new_key() -> None:
    """And the next ones at once with that key."""
    old, new = ScriptedModel(refused()), ScriptedModel("one", "two")
    locksmith = Locksmith(new)
    provider = RenewingProvider(old, locksmith)
    for _ in range(2):
        async with streaming(provider) as deltas:
            assert deltas
    assert (len(old.requests), len(new.requests), locksmith.asked) == (1, 2, 1)


async def test_the_same_key_is_not_tried_again() -> None:
    """The refusal stays what it is."""
    locksmith = Locksmith()
    with pytest.raises(ProviderError, match="expired"):
        async with streaming(RenewingProvider(ScriptedModel(refused()), locksmith)):
            pass
    assert locksmith.asked == 1


async def test_a_new_key_that_is_refused_too_is_the_end() -> None:
    """Once for each request."""
    locksmith = Locksmith(ScriptedModel(refused()), ScriptedModel("never"))
    with pytest.raises(ProviderError, match="expired"):
        async with streaming(RenewingProvider(ScriptedModel(refused()), locksmith)):
            pass
    assert locksmith.asked == 1


@pytest.mark.parametrize("status", [403, 429, 500])
async def test_another_refusal_renews_nothing(status: int) -> None:
    """Only 401 says that the key is wrong."""
    locksmith = Locksmith(ScriptedModel("never"))
    with pytest.raises(ProviderError, match="expired"):
        async with streaming(RenewingProvider(ScriptedModel(refused(status)), locksmith)):
            pass
    assert locksmith.asked == 0


@attrs.define
class Vault:
    """A command that prints another key each time."""

    count: int = 0
    fails: bool = False

    async def run(self, command: str, *, env: Mapping[str, str], working_dir: Path) -> str:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise ConfigError("the command failed with exit status 1")
        self.count += 1
        return f"key-{self.count}"

    async def models(self, endpoint: Endpoint) -> tuple[Model, ...]:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        return ()


async def test_a_renewed_key_is_the_configurations_from_then_on(tmp_path: Path) -> None:
    """So the next turn does not begin with the old one; a command that fails changes nothing."""
    provider = {"base_url": "http://x", "api_key": "$(vault)", "models": [{"id": "m"}]}
    plain = {"base_url": "http://x", "api_key": "$KEY", "models": [{"id": "m"}]}
    document = {"providers": {"p": provider, "plain": plain}}
    (tmp_path / "crush.json").write_text(json.dumps(document))
    vault = Vault()
    configuration = await resolve(vault, tmp_path, env={"HOME": str(tmp_path / "home")})
    assert configuration.renews("p")
    assert not configuration.renews("plain")
    assert configuration.endpoint("p").api_key == "key-1"
    renewed = await renew_endpoint(vault, tmp_path, configuration, "p")
    assert renewed.api_key == configuration.endpoint("p").api_key == "key-2"
    vault.fails = True
    with pytest.raises(ConfigError, match="exit status 1"):
        await renew_endpoint(vault, tmp_path, configuration, "p")
    assert configuration.endpoint("p").api_key == "key-2"
