"""What servers of models tell of them beside their list: windows, limits, prices, abilities.

Each kind has a place of its own for that (agent contract 3.4): Ollama ``/api/show`` for each model, LM
Studio ``/api/v0/models``, llama.cpp ``/props``, LiteLLM ``/model/info``. The places are beside the
OpenAI-compatible part, without its ``/v1``. Nobody has to know more: a server that does not
answer there in time leaves its models as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec
import trio
from msgspec.structs import replace

from crush_trio.errors import ProviderError
from crush_trio.providers.asking import ask
from crush_trio.providers.endpoint import Endpoint
from crush_trio.wire.config import Model

ENRICHING_TIMEOUT = 1.5
"""Seconds for all such questions to a server; the list itself and they have 3 together (3.4)."""

QUESTIONS_AT_ONCE = 8
"""Requests to one server at the same time, where each model is asked for."""

_MILLION = 1_000_000
_log = logging.getLogger(__name__)


async def enriched(
    endpoint: Endpoint, kind: str, models: tuple[Model, ...], *, limit: float = ENRICHING_TIMEOUT
) -> tuple[Model, ...]:
    """Return the models with what the server tells of them; never fails.

    Args:
        endpoint: Where they are.
        kind: The provider's type.
        models: As they were listed.
        limit: Seconds that all of this may take.
    """
    tell = _PLACES.get(kind)
    if tell is None or not models:
        return models
    found = {model.id: model for model in models}
    with trio.move_on_after(limit) as patience:
        try:
            await tell(endpoint, found)
        except (ProviderError, ValueError) as error:
            _log.info("%s tells no more of its models: %s", endpoint.shown_url, error)
    if patience.cancelled_caught:
        _log.info("%s did not tell more of its models in time", endpoint.shown_url)
    return tuple(found.values())


async def _ollama(endpoint: Endpoint, found: dict[str, Model]) -> None:
    """Ask for each model. Its window is below the name of its architecture."""
    limit = trio.CapacityLimiter(QUESTIONS_AT_ONCE)

    async def show(model: Model) -> None:
        async with limit:
            try:
                told = await _object(endpoint, "/api/show", {"model": model.id})
            except (ProviderError, ValueError) as error:
                _log.info("%s tells no more of %s: %s", endpoint.shown_url, model.id, error)
                return
        info = _inner(told, "model_info")
        windows = (_count(info, key) for key in info if key.endswith(".context_length"))
        abilities = told.get("capabilities")
        able = cast("list[Any]", abilities) if isinstance(abilities, list) else []
        found[model.id] = replace(
            model,
            context_window=max(windows, default=0) or model.context_window,
            can_reason="thinking" in able or model.can_reason,
            supports_attachments="vision" in able or model.supports_attachments,
        )

    async with trio.open_nursery() as nursery:
        for model in list(found.values()):
            nursery.start_soon(show, model)


async def _lm_studio(endpoint: Endpoint, found: dict[str, Model]) -> None:
    """Ask for the list of its own; a loaded model may have a smaller window than it could."""
    for told in _list(await _object(endpoint, "/api/v0/models")):
        model = found.get(str(told.get("id")))
        if model is not None:
            window = _count(told, "loaded_context_length") or _count(told, "max_context_length")
            found[model.id] = replace(
                model,
                context_window=window or model.context_window,
                supports_attachments=told.get("type") == "vlm" or model.supports_attachments,
            )


async def _llama_cpp(endpoint: Endpoint, found: dict[str, Model]) -> None:
    """Ask what it was started with, which holds for its one model."""
    if len(found) != 1:
        return
    told = await _object(endpoint, "/props")
    (model,) = found.values()
    window = _count(_inner(told, "default_generation_settings"), "n_ctx")
    sees = _inner(told, "modalities").get("vision") is True
    found[model.id] = replace(
        model,
        context_window=window or model.context_window,
        supports_attachments=sees or model.supports_attachments,
    )


async def _lite_llm(endpoint: Endpoint, found: dict[str, Model]) -> None:
    """Ask for the table of models; its prices are for a token, ours for a million."""
    for told in _list(await _object(endpoint, "/model/info")):
        model = found.get(str(told.get("model_name")))
        if model is None:
            continue
        info = _inner(told, "model_info")
        found[model.id] = replace(
            model,
            context_window=_count(info, "max_input_tokens") or model.context_window,
            default_max_tokens=_count(info, "max_output_tokens") or model.default_max_tokens,
            can_reason=info.get("supports_reasoning") is True or model.can_reason,
            supports_attachments=info.get("supports_vision") is True or model.supports_attachments,
            cost_per_1m_in=_price(info, "input_cost_per_token"),
            cost_per_1m_out=_price(info, "output_cost_per_token"),
            cost_per_1m_in_cached=_price(info, "cache_creation_input_token_cost"),
            cost_per_1m_out_cached=_price(info, "cache_read_input_token_cost"),
        )


_PLACES: Mapping[str, Callable[[Endpoint, dict[str, Model]], Awaitable[None]]] = {
    "ollama": _ollama,
    "lmstudio": _lm_studio,
    "llamacpp": _llama_cpp,
    "litellm": _lite_llm,
}


async def _object(endpoint: Endpoint, path: str, body: Any = None) -> dict[str, Any]:
    """Return the JSON object at a place beside the OpenAI-compatible part.

    Raises:
        ProviderError: it cannot be reached.
        ValueError: it answers something else.
    """
    root = endpoint.base_url.rstrip("/").removesuffix("/v1")
    status, data = await ask(endpoint, root + path, body)
    if status >= 400:
        raise ValueError(f"{path} answered {status}")
    return msgspec.json.decode(data, type=dict[str, Any])


def _list(told: dict[str, Any]) -> list[dict[str, Any]]:
    return msgspec.convert(told.get("data"), list[dict[str, Any]])


def _inner(told: dict[str, Any], key: str) -> dict[str, Any]:
    value = told.get(key)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _count(told: dict[str, Any], key: str) -> int:
    value = told.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _price(told: dict[str, Any], key: str) -> float:
    value = told.get(key)
    return round(value * _MILLION, 6) if isinstance(value, int | float) and value > 0 else 0
