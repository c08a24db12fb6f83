"""The entries of ``providers``: which of them count, and in what shape (agent contract 3.4).

There is no catalogue and no model discovery yet, so every provider is a custom one: it needs an
endpoint and at least one model. What does not count is dropped with a reason, and not an error:
another provider may still do.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import msgspec
from msgspec.structs import replace

from crush_trio.config.defaults import compact
from crush_trio.config.expand import expand
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, ModelOptions, ProviderConfig

DEFAULT_TYPE = "openai-compat"
"""Type of a provider whose file names none (agent contract 3.4)."""


@attrs.frozen
class Entries:
    """The providers, sorted out.

    Attributes:
        kept: The providers that count, by id, as clients are told of them.
        dropped: Why each of the others does not count; disabled ones are not named.
    """

    kept: dict[str, ProviderConfig]
    dropped: dict[str, str]


def prepare(given: Mapping[str, ProviderConfig], env: Mapping[str, str]) -> Entries:
    """Sort out which providers count and fill in their names and types.

    Args:
        given: The merged entries by id.
        env: The program's own view of the environment, for ``base_url``.
    """
    kept: dict[str, ProviderConfig] = {}
    dropped: dict[str, str] = {}
    for provider_id, entry in given.items():
        if entry.disable:
            continue
        provider = replace(
            entry,
            id=provider_id,
            name=entry.name or provider_id,
            type=entry.type or DEFAULT_TYPE,
            models=tuple(map(_tidy, entry.models)),
        )
        if reason := _unusable(provider, env):
            dropped[provider_id] = f"provider {provider_id!r} {reason}"
        else:
            kept[provider_id] = compact(provider)
    return Entries(kept, dropped)


def _tidy(model: Model) -> Model:
    """Name a model that has no name, and leave out what is empty."""
    return replace(
        model,
        name=model.name or model.id,
        reasoning_levels=model.reasoning_levels or msgspec.UNSET,
        default_reasoning_effort=model.default_reasoning_effort or msgspec.UNSET,
        options=msgspec.UNSET if model.options == ModelOptions() else model.options,
    )


def _unusable(provider: ProviderConfig, env: Mapping[str, str]) -> str | None:
    if not provider.base_url:
        return "has no base_url"
    if not provider.models:
        return "lists no models, and discovering them is not supported yet"
    try:
        if not expand(provider.base_url, env):
            return f"has a base_url, {provider.base_url!r}, that expands to nothing"
    except ConfigError:
        return None  # a template that fails is kept, so that whoever uses it is told why
    return None
