"""The embedded model: a small one that needs no key, for a first answer without any set-up.

Above it is whoever was asked for it; below it are a child process that serves the model
(``local_process``) and the provider that talks to it (``openai``). The process starts at the
first request and ends with the owner. If it does not start, or dies, the next request starts
another one.

Synopsis::

    weights = await pull_weights(progress=show)
    async with open_local_model(weights=weights) as model, model.stream(request) as deltas:
        ...
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from crush_trio.errors import LocalModelError, ProviderError
from crush_trio.providers.base import Delta, ModelRequest, Provider
from crush_trio.providers.local_process import Child, ChildQuestion, open_child
from crush_trio.providers.local_request import (
    LOCAL_CONTEXT_WINDOW,
    LOCAL_MAX_TOKENS,
    LOCAL_MODEL_ID,
    LOCAL_SYSTEM_PROMPT,
    local_requests,
    trim_history,
)
from crush_trio.providers.openai import open_openai_provider

__all__ = [
    "LOCAL_CONTEXT_WINDOW",
    "LOCAL_MAX_TOKENS",
    "LOCAL_MODEL_ID",
    "LOCAL_MODEL_NAME",
    "LOCAL_PROVIDER_ID",
    "LOCAL_SLOTS",
    "LOCAL_SYSTEM_PROMPT",
    "LocalModel",
    "open_local_model",
    "trim_history",
]

LOCAL_PROVIDER_ID = "local"
"""The provider's id, as messages and errors name it."""

LOCAL_MODEL_NAME = "SmolLM2 135M Instruct"
"""The model's name for people."""

LOCAL_SLOTS = 2
"""Answers that are generated side by side; further requests wait. Each slot costs 95 MB."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_local_model(
    *, weights: Path, environ: Mapping[str, str] | None = None
) -> AsyncGenerator[LocalModel]:
    """Open the embedded model; leaving the block ends its process. Nothing starts before its use.

    Args:
        weights: The model's file, as ``pull_weights`` returns it. It may come later.
        environ: The environment of the process; ours if None.
    """
    question = ChildQuestion(weights, LOCAL_MODEL_ID, LOCAL_CONTEXT_WINDOW, LOCAL_SLOTS)
    async with trio.open_nursery() as nursery:
        try:
            yield LocalModel(nursery, question, environ)
        finally:
            nursery.cancel_scope.cancel("the embedded model was closed")


@attrs.define(eq=False)
class _Life:
    """One life of the child process, from the use that starts it to its end.

    Attributes:
        settled: It answers requests, or will not.
        failure: Why it will not; for errors, of which each waiter raises its own.
        streams: How many requests are open.
    """

    settled: trio.Event = attrs.field(factory=trio.Event)
    child: Child | None = None
    provider: Provider | None = None
    failure: str = "the embedded model was closed"
    streams: int = 0
    released: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    @contextmanager
    def use(self) -> Generator[Provider]:
        """Give the provider, and keep it open for the block.

        Raises:
            LocalModelError: the process did not start.
        """
        if self.provider is None:
            raise LocalModelError(self.failure)
        self.streams += 1
        try:
            yield self.provider
        finally:
            self.streams -= 1
            self.released.unpark_all()

    async def wait_unused(self) -> None:
        """Return once no request is open."""
        while self.streams:
            await self.released.park()


class LocalModel:
    """A provider with one model. Use :func:`open_local_model`."""

    def __init__(
        self, nursery: trio.Nursery, question: ChildQuestion, environ: Mapping[str, str] | None
    ) -> None:
        self._nursery = nursery
        self._question = question
        self._environ = environ
        self._life: _Life | None = None

    def __repr__(self) -> str:
        return f"<LocalModel {self.pid or 'not running'}>"

    @property
    def pid(self) -> int | None:
        """The id of the process, or None while it has none that answers."""
        return self._life.child.pid if self._life and self._life.child else None

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Open one streaming request; see the protocol. Waits for the process to start.

        Of the request count the conversation and the options, and these within the model's
        limits (``local_request``).

        Raises:
            LocalModelError: the process does not start, or the model has been closed.
            ProviderError: as in the protocol. One for a broken connection may be tried again, and
                meets another process.
        """
        life = self._life or self._start()
        await life.settled.wait()
        with life.use() as provider:
            async with AsyncExitStack() as stack:
                yield await _enter(stack, provider, request)

    def _start(self) -> _Life:
        """Begin another life. Not a checkpoint, so that all who want one now share it."""
        if self._nursery.cancel_scope.cancel_called:
            raise LocalModelError("the embedded model was closed")
        life = self._life = _Life()
        self._nursery.start_soon(_import_sdk, name="import of the SDK")
        self._nursery.start_soon(self._live, life, name="embedded model")
        return life

    async def _live(self, life: _Life) -> None:
        """Be the life of a process: it runs while this call does."""
        try:
            async with (
                open_child(self._question, environ=self._environ) as child,
                open_openai_provider(
                    name=LOCAL_PROVIDER_ID,
                    base_url=f"{child.address}/v1",
                    api_key=child.key,
                    # Its server hangs up between two requests of a connection in 5 of 60 cases.
                    headers={"connection": "close"},
                ) as provider,
            ):
                life.child, life.provider = child, provider
                life.settled.set()
                how = await child.wait()
                _log.warning("the embedded model's process has ended, %s", how)
                self._forget(life)
                life.provider = None
                life.failure = f"the embedded model's process has ended, {how}: try again"
                await life.wait_unused()  # their connections are broken; let them see it
        except* Exception as group:  # noqa: BLE001 - whoever waits gets it, the owner goes on
            life.failure = "; ".join(map(str, group.exceptions))
        finally:
            self._forget(life)
            life.settled.set()

    def _forget(self, life: _Life) -> None:
        """Let the next use begin another life."""
        if self._life is life:
            self._life = None


async def _enter(
    stack: AsyncExitStack, provider: Provider, request: ModelRequest
) -> AsyncIterator[Delta]:
    """Open the request, and a shorter one if the model refuses the first."""
    refusal: ProviderError | None = None
    for attempt in local_requests(request):
        try:
            return await stack.enter_async_context(provider.stream(attempt))
        except ProviderError as error:
            if error.http_status != 400:
                raise
            refusal = error
    assert refusal is not None
    raise refusal


async def _import_sdk() -> None:
    """Import what the first request needs while the process starts: it takes as long."""
    with contextlib.suppress(ImportError):  # which the request itself will tell
        # One that nobody waits for any more does no harm.
        await trio.to_thread.run_sync(importlib.import_module, "openai", abandon_on_cancel=True)
