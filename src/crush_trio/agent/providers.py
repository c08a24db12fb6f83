"""The providers that a workspace has open: each endpoint once, from its first use to the end.

A provider is opened in a task of its own, so that it is closed where it was opened, and two turns
that need the same one at the same moment share it. A changed configuration opens another one; a
run in flight keeps what it has.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import trio

from crush_trio.config import Endpoint
from crush_trio.errors import sole
from crush_trio.providers.base import Provider

ProviderOpener = Callable[[Endpoint], AbstractAsyncContextManager[Provider]]
"""Opens a provider for an endpoint: a real one, or a scripted twin."""


@attrs.define(eq=False)
class _Slot:
    endpoint: Endpoint
    settled: trio.Event = attrs.field(factory=trio.Event)
    provider: Provider | None = None
    error: BaseException | None = None


class Providers:
    """The open providers of a workspace. Use :func:`open_providers`."""

    def __init__(self, nursery: trio.Nursery, opener: ProviderOpener) -> None:
        self._nursery = nursery
        self._opener = opener
        self._slots: list[_Slot] = []

    async def get(self, endpoint: Endpoint) -> Provider:
        """Return the provider of an endpoint, opening it at its first use. Always a checkpoint.

        Raises:
            Exception: what opening raised; the next use tries again.
        """
        slot = next((slot for slot in self._slots if slot.endpoint == endpoint), None)
        if slot is None:
            slot = _Slot(endpoint)
            self._slots.append(slot)
            self._nursery.start_soon(self._keep_open, slot, name="provider")
        await slot.settled.wait()
        if slot.provider is None:
            assert slot.error is not None
            raise slot.error
        return slot.provider

    async def _keep_open(self, slot: _Slot) -> None:
        try:
            async with self._opener(slot.endpoint) as slot.provider:
                slot.settled.set()
                await trio.sleep_forever()
        except* (Exception, SystemExit) as errors:  # noqa: BLE001 -- told to whoever wanted the provider (C3)
            slot.error = sole(errors)
        finally:
            slot.provider = None
            self._slots.remove(slot)
            slot.error = slot.error or RuntimeError("the provider was closed")
            slot.settled.set()


@asynccontextmanager
async def open_providers(opener: ProviderOpener) -> AsyncGenerator[Providers]:
    """Open a table of providers; leaving the block closes them all."""
    async with trio.open_nursery() as nursery:
        yield Providers(nursery, opener)
        nursery.cancel_scope.cancel("the workspace is closing")
