"""Which models an OpenAI-compatible endpoint has: one request, when a configuration is loaded.

Limits and prices are rarely told. What some servers tell beside the id is taken: vLLM's, LM Studio's,
Groq's and OpenRouter's word for the context window, and llama.cpp's.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.failures import message_of, status_error
from crush_trio.providers.trust import LateTrust
from crush_trio.wire.config import Model

BODY_LIMIT = 16 * 2**20
"""Bytes of an answer that are read; the longest list that is known is half a megabyte."""

_WINDOWS = ("context_window", "context_length", "max_model_len", "max_context_length")
_OUTPUTS = ("max_output_tokens", "max_completion_tokens")


class _Meta(msgspec.Struct, frozen=True):
    n_ctx_train: int = 0


class _Listed(msgspec.Struct, frozen=True):
    """One model as servers list it."""

    id: str
    name: str | None = None
    context_window: int | None = None
    context_length: int | None = None
    max_model_len: int | None = None
    max_context_length: int | None = None
    max_output_tokens: int | None = None
    max_completion_tokens: int | None = None
    meta: _Meta | None = None


class _Listing(msgspec.Struct, frozen=True):
    data: tuple[_Listed, ...]


async def list_models(
    name: str, base_url: str, api_key: str, headers: Mapping[str, str]
) -> tuple[Model, ...]:
    """Ask an endpoint which models it has, in the order of its answer.

    Waits for the connection and the answer; the caller bounds that.

    Args:
        name: The provider's id, for errors.
        base_url: The endpoint, such as ``http://localhost:11434/v1``.
        api_key: Sent as a bearer token; if empty, nothing is.
        headers: More headers; they outrank the key.

    Raises:
        ConfigError: address, key or headers cannot be used.
        ProviderError: it cannot be reached, refuses, or answers something else.
    """
    endpoint = Endpoint.of(name, base_url, api_key, headers)
    status, body = await _get(endpoint, f"{endpoint.base_url.rstrip('/')}/models")
    if status >= 400:
        raise endpoint.cleaned(status_error(status, message_of(_json(body))))
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProviderError(
            f"{endpoint.shown_url}/models did not answer with a list of models: {error}"
        ) from error
    return tuple(_model(listed) for listed in listing.data if listed.id)


def _model(listed: _Listed) -> Model:
    trained = 0 if listed.meta is None else listed.meta.n_ctx_train
    return Model(
        id=listed.id,
        name=listed.name or listed.id,
        context_window=_first(getattr(listed, key) for key in _WINDOWS) or trained,
        default_max_tokens=_first(getattr(listed, key) for key in _OUTPUTS),
    )


def _first(values: Iterable[int | None]) -> int:
    return next((value for value in values if value), 0)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")


async def _get(endpoint: Endpoint, url: str) -> tuple[int, bytes]:
    """Return the status and the body of a GET."""
    httpx = await trio.to_thread.run_sync(_import_httpx, abandon_on_cancel=True)
    try:
        async with (
            httpx.AsyncClient(
                timeout=None,
                trust_env=not endpoint.is_local,
                verify=True if endpoint.has_tls else LateTrust(ssl.PROTOCOL_TLS_CLIENT),
            ) as client,
            client.stream("GET", url, headers=dict(endpoint.headers)) as response,
        ):
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > BODY_LIMIT:
                    raise ProviderError(f"{endpoint.shown_url}/models answers without end")
            return response.status_code, body
    except httpx.HTTPError as error:
        text = f"cannot ask {endpoint.shown_url}/models: {error or type(error).__name__}"
        failure = ProviderError(endpoint.clean(text), retryable=True)
    raise failure from None


def _import_httpx() -> Any:
    """Import the HTTP client, which takes too long for the event loop."""
    import httpx2  # noqa: PLC0415

    return httpx2
