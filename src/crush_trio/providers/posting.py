"""One streaming POST at a time through the client of a model vendor's official SDK.

The SDK keeps the request, the authentication and the error classes. Body and stream go past its
typed layer, which costs four to five times as much for each token and, OpenAI's, blocks the loop
for hundreds of milliseconds with a long history. Retries are the agent's: they count in virtual time.

Two rules keep this file honest:

1. A key never leaves it but in a request header: every text that goes up is cleaned, and foreign
   exceptions, which may quote a header, are not chained (A2).
2. The connection is closed or given back when the stream's block is left (R11; see ``response``).
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.answer import AnswerReader
from crush_trio.providers.base import Delta, ModelRequest, Provider
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.failures import message_of, reason_of, status_error
from crush_trio.providers.response import ResponseDeltas
from crush_trio.providers.trust import LateTrust

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT = 15.0
"""Seconds to reach an endpoint; over a minute with the retries, which is long for a person."""

SILENCE_TIMEOUT = 600.0
"""Seconds without a byte, as in the SDK: a model may think for minutes before it says anything."""

IDLE_CONNECTIONS = 100
"""Connections kept for the next request, as in the SDK. There is no limit to those in use."""

CLOSE_TIMEOUT = 1.0
"""Seconds to close idle connections in."""


@attrs.define(eq=False)
class SDK:
    """A vendor's SDK, once it has been imported. They come from one generator and are alike.

    Attributes:
        client: Its asynchronous client.
        module: The package, for its error classes.
        httpx: The HTTP library below it.
        headers: What it is given with every request.
    """

    client: Any
    module: Any
    httpx: Any
    headers: Mapping[str, Any] = attrs.field(repr=False)


def _no_headers(request: ModelRequest) -> Mapping[str, str]:  # noqa: ARG001 -- a default
    return {}


@attrs.frozen
class Dialect:
    """How a vendor's requests and answers differ from another's.

    Attributes:
        path: Where a request goes, below the endpoint's address.
        encode: Makes a request's body.
        read: Makes the reader of one answer.
        import_sdk: Imports the SDK and makes its client; slow, so called in a thread.
        headers: Headers that one request has beside the endpoint's.
    """

    path: str
    encode: Callable[[ModelRequest], bytes]
    read: Callable[[], AnswerReader]
    import_sdk: Callable[[Endpoint], SDK]
    headers: Callable[[ModelRequest], Mapping[str, str]] = _no_headers


@asynccontextmanager
async def open_posting_provider(endpoint: Endpoint, dialect: Dialect) -> AsyncGenerator[Provider]:
    """Open a provider; leaving the block closes its connections.

    Nothing is imported or connected before the first request.
    """
    provider = _PostingProvider(endpoint, dialect)
    try:
        yield provider
    finally:
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await provider.aclose()


def http_client(endpoint: Endpoint) -> httpx2.AsyncClient:
    """Return the HTTP client for an endpoint. Imports its library: never on the event loop."""
    import httpx2  # noqa: PLC0415

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(SILENCE_TIMEOUT, connect=CONNECT_TIMEOUT),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS),
        follow_redirects=True,
        # A proxy of the environment is not for this machine.
        trust_env=not endpoint.is_local,
        verify=True if endpoint.has_tls else LateTrust(ssl.PROTOCOL_TLS_CLIENT),
    )


class _PostingProvider:
    """One endpoint and its connections."""

    def __init__(self, endpoint: Endpoint, dialect: Dialect) -> None:
        self._endpoint = endpoint
        self._dialect = dialect
        self._sdk: SDK | None = None
        self._importing = trio.Lock()

    def __repr__(self) -> str:
        return f"<Provider {self._endpoint.name} at {self._endpoint.shown_url}>"

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Open one streaming request; see the protocol."""
        body = self._dialect.encode(request)
        sdk = await self._open_sdk()
        response = await self._post(sdk, body, request)
        reader = self._dialect.read()
        deltas = ResponseDeltas(response, reader, self._endpoint, sdk.httpx.RequestError)
        try:
            yield deltas
        finally:
            await deltas.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._sdk is not None:
            await self._sdk.client.close()

    async def _open_sdk(self) -> SDK:
        async with self._importing:
            if self._sdk is None:
                # An import that nobody waits for any more does no harm.
                self._sdk = await trio.to_thread.run_sync(
                    self._dialect.import_sdk, self._endpoint, abandon_on_cancel=True
                )
            return self._sdk

    async def _post(self, sdk: SDK, body: bytes, request: ModelRequest) -> httpx2.Response:
        headers = {**sdk.headers, **self._dialect.headers(request)}
        if key := request.session_key:
            headers |= {"x-session-id": key, "x-session-affinity": key}
        try:
            return await sdk.client.post(
                self._dialect.path,
                cast_to=sdk.httpx.Response,
                content=body,
                options={"headers": headers},
                stream=True,
            )
        except sdk.module.APIStatusError as error:
            failure = self._status_error(error)
        except sdk.module.APIConnectionError as error:
            failure = self._connection_error(sdk, error.__cause__)
        raise failure from None

    def _status_error(self, error: Any) -> ProviderError:
        message = message_of(error.body) or f"{self._endpoint.shown_url} said no more"
        return status_error(
            error.status_code,
            self._endpoint.clean(message),
            error.response.headers,
            now=time.time(),
        )

    def _connection_error(self, sdk: SDK, cause: BaseException | None) -> ProviderError:
        url = self._endpoint.shown_url
        if isinstance(cause, sdk.httpx.ConnectTimeout):
            text = f"cannot connect to {url}: no answer in {CONNECT_TIMEOUT:g} seconds"
        elif isinstance(cause, sdk.httpx.TimeoutException):
            text = f"no answer from {url} in {SILENCE_TIMEOUT:g} seconds"
        elif isinstance(cause, sdk.httpx.ConnectError):
            text = f"cannot connect to {url}: {reason_of(cause)}"
        else:
            text = f"no answer from {url}: {reason_of(cause)}"
        return ProviderError(self._endpoint.clean(text), retryable=True)
