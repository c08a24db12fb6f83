"""The providers of a workspace: each endpoint open once, and closed with the workspace."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from core_kit import live_tasks
from crush_trio.agent.providers import Providers, open_providers
from crush_trio.config import Endpoint
from crush_trio.errors import ConfigError
from crush_trio.providers.base import Provider
from crush_trio.providers.scripted import ScriptedModel

ONE = Endpoint("one", "openai", "http://one.invalid")
TWO = Endpoint("two", "openai", "http://two.invalid")


class Shop:
    """Opens providers, as a test says."""

    def __init__(self) -> None:
        self.opened: list[Endpoint] = []
        self.open_now = 0
        self.gate = trio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.broken = trio.Event()

    @asynccontextmanager
    async def __call__(self, endpoint: Endpoint) -> AsyncGenerator[Provider]:
        self.opened.append(endpoint)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.open_now += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break)
                yield ScriptedModel()
                nursery.cancel_scope.cancel("closed")
        finally:
            self.open_now -= 1

    async def _break(self) -> None:
        await self.broken.wait()
        raise RuntimeError("the connection pool broke")


@asynccontextmanager
async def open_table(shop: Shop) -> AsyncGenerator[Providers]:
    with trio.fail_after(5):
        async with open_providers(shop) as providers:
            yield providers


async def test_an_endpoint_is_opened_once() -> None:
    """However many ask for it at the same moment; another one is another provider."""
    shop, found = Shop(), list[Provider]()
    shop.gate = trio.Event()
    async with open_table(shop) as providers:

        async def take(endpoint: Endpoint) -> None:
            found.append(await providers.get(endpoint))

        async with trio.open_nursery() as nursery:
            for endpoint in (ONE, ONE, TWO):
                nursery.start_soon(take, endpoint)
            await wait_all_tasks_blocked()
            assert sorted(each.provider_id for each in shop.opened) == ["one", "two"]
            shop.gate.set()
        assert len(set(map(id, found))) == 2
        await providers.get(ONE)
        assert len(shop.opened) == 2


@pytest.mark.promise("C3")
@pytest.mark.parametrize(
    "error", [ConfigError("bad url"), ExceptionGroup("g", [ConfigError("bad url")])]
)
async def test_a_failure_to_open_is_told_to_all_who_wait_and_tried_again(error: Exception) -> None:
    """As the one error that it is."""
    shop, told = Shop(), list[str]()
    shop.error = error
    async with open_table(shop) as providers:

        async def take() -> None:
            try:
                await providers.get(ONE)
            except ConfigError as caught:
                told.append(str(caught))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            nursery.start_soon(take)
        assert told == ["bad url"] * 2
        shop.error = None
        await providers.get(ONE)
        assert shop.open_now == 1


@pytest.mark.promise("C3")
async def test_a_provider_that_breaks_is_opened_anew_at_its_next_use() -> None:
    """Nothing else of the workspace goes with it."""
    shop = Shop()
    async with open_table(shop) as providers:
        await providers.get(TWO)
        first = await providers.get(ONE)
        shop.broken.set()
        await wait_all_tasks_blocked()
        assert shop.open_now == 0
        shop.broken = trio.Event()
        assert await providers.get(ONE) is not first


@pytest.mark.promise("W5", "R5")
async def test_a_cancelled_user_leaves_the_opening_to_others() -> None:
    """And when the workspace closes every provider is closed."""
    shop = Shop()
    shop.gate = trio.Event()
    before = live_tasks()
    async with open_table(shop) as providers:
        with trio.move_on_after(0.01) as scope:
            await providers.get(ONE)
        assert scope.cancelled_caught
        shop.gate.set()
        await providers.get(ONE)
        assert (len(shop.opened), shop.open_now) == (1, 1)
    assert shop.open_now == 0
    assert live_tasks() == before


@pytest.mark.promise("C3", "W5")
async def test_closing_while_a_provider_breaks_raises_nothing_new() -> None:
    """Its error stays with it, the cancel passes."""
    shop = Shop()
    async with open_table(shop) as providers:
        await providers.get(ONE)
        shop.broken.set()
    assert shop.open_now == 0
