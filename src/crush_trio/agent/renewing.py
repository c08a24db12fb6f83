"""A provider whose key is the output of a command, and may have run out (agent contract 1.19).

When a request is refused with 401 the command is run again, and the request is made once more with
the new key; with the same key the refusal stays what it is. Once for each request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from crush_trio.errors import ProviderError
from crush_trio.providers.base import Delta, ModelRequest, Provider

UNAUTHORIZED = 401


class RenewingProvider:
    """Makes requests through a provider, and through the next one when its key has run out.

    Args:
        provider: The one to begin with.
        renew: Returns one with a new key, or None if the key is still the same.
    """

    def __init__(self, provider: Provider, renew: Callable[[], Awaitable[Provider | None]]) -> None:
        self._provider = provider
        self._renew = renew

    def __repr__(self) -> str:
        return f"<RenewingProvider of {self._provider!r}>"

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Open one streaming request; see the protocol."""
        async with AsyncExitStack() as stack:
            opened = await self._open(stack, request)
            if isinstance(opened, ProviderError):
                renewed = await self._renew()
                if renewed is None:
                    raise opened
                self._provider = renewed
                opened = await stack.enter_async_context(renewed.stream(request))
            yield opened

    async def _open(
        self, stack: AsyncExitStack, request: ModelRequest
    ) -> AsyncIterator[Delta] | ProviderError:
        """Return the stream, or the refusal of a key."""
        try:
            return await stack.enter_async_context(self._provider.stream(request))
        except ProviderError as error:
            if error.http_status != UNAUTHORIZED:
                raise
            return error
