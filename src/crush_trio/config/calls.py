"""Call options: what is sent with every request to a model (agent contract 1.12).

Three layers of ``provider_options`` are merged, then the reasoning effort and the quirks of some
providers are added where those options do not say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, TypeVar, cast

import attrs
import msgspec

from crush_trio.config.merge import merge
from crush_trio.config.models import Chosen
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, ModelOptions, ProviderConfig

V = TypeVar("V")

THINKING_BUDGET = 2000
"""Tokens that a model may think when it is to think and has no levels (agent contract 1.12)."""

_EXACTO = frozenset(
    {
        "moonshotai/kimi-k2-0905",
        "deepseek/deepseek-v3.1-terminus",
        "z-ai/glm-4.6",
        "openai/gpt-oss-120b",
        "qwen/qwen3-coder",
    }
)


@attrs.frozen
class CallOptions:
    """Plain values for one request; None leaves a value out.

    Attributes:
        model_id: The id to send, which may differ from the configured one.
        extra_body: Members of the request's body that have no field here; goes over the endpoint's.
    """

    model_id: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    extra_body: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


def call_options(
    chosen: Chosen, provider: ProviderConfig, *, sub_agent: bool = False
) -> CallOptions:
    """Return the options for calls of a chosen model.

    Args:
        chosen: The model and what was selected for it.
        provider: Its provider's entry.
        sub_agent: Take sampling values from the selection only, not from the model.

    Raises:
        ConfigError: two layers of ``provider_options`` give a key values of different kinds.
    """
    model, selected = chosen.model, chosen.selected
    own = model.options if isinstance(model.options, ModelOptions) else ModelOptions()
    layers = (own.provider_options, provider.provider_options, selected.provider_options)
    body = _body(layers, f"provider_options for model '{provider.id}/{model.id}'")
    effort = effective_effort(model, selected.reasoning_effort)
    wanted, added = _added(provider, model, effort, think=selected.think)
    sampling = ModelOptions() if sub_agent else own
    exacto = provider.type == "openrouter" and model.id in _EXACTO
    return CallOptions(
        model_id=f"{model.id}:exacto" if exacto else model.id,
        max_tokens=selected.max_tokens or model.default_max_tokens or None,
        temperature=_first(selected.temperature, sampling.temperature),
        top_p=_first(selected.top_p, sampling.top_p),
        top_k=_first(selected.top_k, sampling.top_k),
        frequency_penalty=_first(selected.frequency_penalty, sampling.frequency_penalty),
        presence_penalty=_first(selected.presence_penalty, sampling.presence_penalty),
        reasoning_effort=body.pop("reasoning_effort", wanted) or None,
        extra_body={**added, **body},
    )


def effective_effort(model: Model, wanted: str) -> str:
    """Return the reasoning effort that a model takes: the wanted one if it knows it, or empty."""
    if not model.can_reason:
        return ""
    levels = () if model.reasoning_levels is msgspec.UNSET else model.reasoning_levels
    for effort in (wanted, model.default_reasoning_effort):
        if effort in levels:
            return str(effort)
    return levels[0] if levels else ""


def _body(layers: Iterable[Mapping[str, Any] | None], what: str) -> dict[str, Any]:
    """Return merged provider options as members of the request's body."""
    try:
        body = reduce(merge, (layer for layer in layers if layer), dict[str, Any]())
        extra = body.pop("extra_body", None)
        return merge(body, cast("dict[str, Any]", extra)) if isinstance(extra, dict) else body
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from None


def _added(
    provider: ProviderConfig, model: Model, effort: str, *, think: bool
) -> tuple[str, dict[str, Any]]:
    """Return the effort to send in its own field, and what else goes into the body."""
    match provider.type:
        case "openai":
            return effort, {}
        case "anthropic":
            return _thinking(provider.id, effort, think=think)
        case "openrouter" | "vercel":
            return "", {"reasoning": {"enabled": True, "effort": effort}} if effort else {}
        case "openai-compat":
            return _quirks(provider.id, model, effort, think=think)
        case _:
            return "", {}


def _thinking(provider_id: str, effort: str, *, think: bool) -> tuple[str, dict[str, Any]]:
    """Return the same for the type ``anthropic``."""
    if provider_id in {"alibaba-singapore", "alibaba-us"}:
        switch = {"type": "enabled" if think else "disabled"}
        return "", {"reasoning_effort": effort} if effort else {"thinking": switch}
    if effort or not think:
        return effort, {}
    return "", {"thinking": {"budget_tokens": THINKING_BUDGET}}


def _quirks(
    provider_id: str, model: Model, effort: str, *, think: bool
) -> tuple[str, dict[str, Any]]:
    """Return the same for an openai-compat provider, by its id (second table of the contract)."""
    thinking = think or bool(effort)
    switch = {"type": "enabled" if thinking else "disabled"}
    body: dict[str, Any] = {}
    match provider_id:
        case "hyper":
            body = {"thinking": think}
        case "ionet":
            body = {"reasoning": {"effort": effort or ("medium" if think else "none")}}
            effort = ""
        case "zai":
            body = {"thinking": switch, "tool_stream": True}
        case "deepseek":
            body = {"thinking": switch}
        case "fireworks":
            body = {} if effort else {"thinking": switch}
        case "baseten":
            body = {"chat_template_args": {"enable_thinking": thinking}}
        case "opencode-go" | "opencode-zen" if model.id.startswith("minimax"):
            adaptive = {"thinking": {"type": "adaptive"}, "reasoning_split": True}
            body = adaptive if thinking else {"thinking": switch}
            effort = ""
        case "alibaba-singapore" | "alibaba-us" if model.can_reason:
            body = {"enable_thinking": thinking}
        case _:
            pass
    return effort, body


def _first(selected: V | None, default: V | None) -> V | None:
    return default if selected is None else selected
