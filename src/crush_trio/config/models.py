"""Which models a workspace uses: the configured ones where they exist, else a default.

Nothing is written here; whoever opens a workspace puts what was corrected into the user's file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import attrs
import msgspec
from msgspec.structs import replace

from crush_trio.config.endpoint import RUNNABLE
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, Provider, ProviderConfig, SelectedModel

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
    providers: Mapping[str, ProviderConfig],
    configured: Mapping[str, SelectedModel],
    known: Iterable[Provider] = (),
) -> tuple[Chosen, Chosen] | None:
    """Return the large and the small model, or None where there is no provider.

    A small model that is not configured is the default one beside a known provider, and else the
    large one.

    Args:
        providers: The usable providers.
        configured: What was chosen.
        known: The catalogue, in the order in which a default is looked for.
    """
    catalogue = {each.id: each for each in known}
    default = _default(providers, catalogue)
    if default is None:
        return None
    large = _configured(providers, configured.get("large"), default[0])
    if configured.get("small") is not None:
        return large, _configured(providers, configured.get("small"), default[1])
    return large, default[1] if large.provider_id in catalogue else large


def chosen_now(
    providers: Mapping[str, ProviderConfig], wanted: SelectedModel
) -> tuple[Chosen | None, str]:
    """Return a model as somebody chose it just now, unchanged; else why it cannot be used."""
    provider = providers.get(wanted.provider)
    if provider is None:
        return None, f"provider {wanted.provider!r} is not configured"
    for model in provider.models:
        if model.id == wanted.model:
            return Chosen(wanted, model, provider.id), ""
    return None, f"model {wanted.model!r} is not among those of provider {provider.id!r}"


def default_small(provider: Provider) -> SelectedModel:
    """Return the small model that goes with a known provider (R-46)."""
    wanted = provider.default_small_model_id
    for model in provider.models:
        if model.id == wanted:
            effort = model.default_reasoning_effort
            return SelectedModel(
                model.id,
                provider.id,
                reasoning_effort="" if effort is msgspec.UNSET else effort,
                max_tokens=model.default_max_tokens,
            )
    return SelectedModel(wanted, provider.id)


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


def _default(
    providers: Mapping[str, ProviderConfig], catalogue: Mapping[str, Provider]
) -> tuple[Chosen, Chosen] | None:
    """Return the default models: of the first known provider, else of the alphabetically first.

    If possible of one that we can run.
    """
    names = [name for name in catalogue if name in providers]
    names += sorted(name for name in providers if name not in catalogue)
    if not names:
        return None
    first = providers[min(names, key=lambda name: providers[name].type not in RUNNABLE)]
    known = catalogue.get(first.id, Provider())
    wanted = known.default_large_model_id, known.default_small_model_id
    return _named(first, wanted[0]), _named(first, wanted[1])


def _named(provider: ProviderConfig, model_id: str) -> Chosen:
    """Return a provider's model, its first one if it has none of this name."""
    found = (model for model in provider.models if model.id == model_id)
    return _chosen(provider.id, next(found, provider.models[0]))


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
