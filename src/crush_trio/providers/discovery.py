"""Which models an OpenAI-compatible endpoint has: asked when a configuration is loaded.

Limits and prices are rarely told. What some servers tell beside the id is taken: vLLM's, LM Studio's,
Groq's and OpenRouter's word for the context window, and llama.cpp's. Servers of a kind that tells
more elsewhere are asked there, too; see :mod:`crush_trio.providers.enriching`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from crush_trio.errors import ProviderError
from crush_trio.providers.asking import ask
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.enriching import enriched
from crush_trio.providers.failures import message_of, status_error
from crush_trio.wire.config import Model

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
    name: str, base_url: str, api_key: str, headers: Mapping[str, str], kind: str = ""
) -> tuple[Model, ...]:
    """Ask an endpoint which models it has, in the order of its answer.

    Waits for the connection and the answer; the caller bounds that.

    Args:
        name: The provider's id, for errors.
        base_url: The endpoint, such as ``http://localhost:11434/v1``.
        api_key: Sent as a bearer token; if empty, nothing is.
        headers: More headers; they outrank the key.
        kind: The provider's type, such as ``ollama``.

    Raises:
        ConfigError: address, key or headers cannot be used.
        ProviderError: it cannot be reached, refuses, or answers something else.
    """
    endpoint = Endpoint.of(name, base_url, api_key, headers)
    status, body = await ask(endpoint, f"{endpoint.base_url.rstrip('/')}/models")
    if status >= 400:
        raise endpoint.cleaned(status_error(status, message_of(_json(body))))
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProviderError(
            f"{endpoint.shown_url}/models did not answer with a list of models: {error}"
        ) from error
    models = tuple(_model(listed) for listed in listing.data if listed.id)
    return await enriched(endpoint, kind, models)


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
