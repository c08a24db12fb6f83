"""Which models a workspace uses: the configured ones where they exist, else a default.

Nothing is written back: a configured model that does not exist is only not used (agent contract
3.3, where Crush corrects its file).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import attrs
from msgspec.structs import replace

from crush_trio.config.endpoint import RUNNABLE
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, ProviderConfig, SelectedModel

LISTED = 20
"""Most candidates that an error lists; a longer list hides the message."""

_log = logging.getLogger(__name__)


@attrs.frozen
class Chosen:
    """A model that was found at its provider, and the options chosen for it."""

    selected: SelectedModel
    model: Model
    provider_id: str


def select(
    providers: Mapping[str, ProviderConfig], configured: Mapping[str, SelectedModel]
) -> tuple[Chosen, Chosen] | None:
    """Return the large and the small model, or None where there is no provider.

    A small model that is not configured is the large one, since no catalogue knows a better one.
    """
    default = _default(providers)
    if default is None:
        return None
    large = _configured(providers, configured.get("large"), default)
    if configured.get("small") is None:
        return large, large
    return large, _configured(providers, configured.get("small"), default)


def find(providers: Mapping[str, ProviderConfig], name: str) -> Chosen:
    """Return the model called ``model`` or ``provider/model``; a full name goes first.

    Raises:
        ConfigError: no model, or more than one, has this name; the message lists candidates.
    """
    every = [(entry.id, model) for entry in providers.values() for model in entry.models]
    found = [(owner, model) for owner, model in every if f"{owner}/{model.id}" == name]
    found = found or [(owner, model) for owner, model in every if model.id == name]
    if not found:
        raise ConfigError(f"model {name!r} is unknown; there is {_listed(every)}")
    if len({owner for owner, _ in found}) > 1:
        raise ConfigError(f"model {name!r} is ambiguous; say which of {_listed(found)}")
    return _chosen(*found[0])


def _default(providers: Mapping[str, ProviderConfig]) -> Chosen | None:
    """Return the first model of the alphabetically first provider, if possible of one that we can run."""
    if not providers:
        return None
    first = min(providers, key=lambda name: (providers[name].type not in RUNNABLE, name))
    return _chosen(first, providers[first].models[0])


def _configured(
    providers: Mapping[str, ProviderConfig], wanted: SelectedModel | None, default: Chosen
) -> Chosen:
    if wanted is None:
        return default
    provider_id = wanted.provider or default.provider_id
    model_id = wanted.model or default.model.id
    provider = providers.get(provider_id)
    for model in provider.models if provider else ():
        if model.id == model_id:
            return _chosen(provider_id, model, wanted)
    _log.warning(
        "model %s/%s does not exist; using %s/%s",
        provider_id,
        model_id,
        default.provider_id,
        default.model.id,
    )
    return default


def _chosen(provider_id: str, model: Model, wanted: SelectedModel | None = None) -> Chosen:
    wanted = wanted or SelectedModel(model.id, provider_id)
    tokens = wanted.max_tokens or model.default_max_tokens
    selected = replace(wanted, model=model.id, provider=provider_id, max_tokens=tokens)
    return Chosen(selected, model, provider_id)


def _listed(candidates: Iterable[tuple[str, Model]]) -> str:
    names = sorted({f"{owner}/{model.id}" for owner, model in candidates})
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (", ".join(names[:LISTED]) or "none") + more
