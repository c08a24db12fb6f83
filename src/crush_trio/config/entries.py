"""The entries of ``providers``: which of them count, and in what shape (agent contract 3.4).

A *known* provider is one of the catalogue: it counts as soon as there is a key for it, and an entry
of the user's changes what it names. Any other is a *custom* one: it needs an endpoint, and models,
which its endpoint can be asked for. What does not count is dropped with a reason, and not an error:
another provider may still do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import attrs
import msgspec
from msgspec.structs import replace

from crush_trio.config.catalog import TYPES
from crush_trio.config.defaults import compact
from crush_trio.config.endpoint import RUNNABLE, Endpoint, expand_endpoint, expand_headers
from crush_trio.config.expand import Failed, Outputs, expand
from crush_trio.config.findings import Findings, Needed
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, ModelOptions, Provider, ProviderConfig

DEFAULT_TYPE = "openai-compat"
"""Type of a provider whose file names none (agent contract 3.4)."""

_ASKED = RUNNABLE - {"anthropic"}
"""Types whose endpoints list their models in OpenAI's form."""

_log = logging.getLogger(__name__)


@attrs.frozen
class Entries:
    """The providers, sorted out.

    Attributes:
        kept: The providers that count, by id, as clients are told of them.
        dropped: Why each of the others does not count; disabled ones are not named, and known ones
            that nobody has configured.
        unsure: Those of the kept ones whose endpoints did not say which models they have.
    """

    kept: dict[str, ProviderConfig] = attrs.field(factory=dict[str, ProviderConfig])
    dropped: dict[str, str] = attrs.field(factory=dict[str, str])
    unsure: set[str] = attrs.field(factory=set[str])


@attrs.frozen
class _Reading:
    """What entries are looked at with."""

    env: Mapping[str, str]
    outputs: Outputs
    models_of: Callable[[Endpoint], tuple[Model, ...] | Failed]


def prepare(
    given: Mapping[str, ProviderConfig],
    env: Mapping[str, str],
    *,
    known: Iterable[Provider] = (),
    findings: Findings | None = None,
) -> Entries:
    """Sort out which providers count, and complete them.

    Args:
        given: The merged entries by id.
        env: The program's own view of the environment.
        known: The catalogue.
        findings: What is known from outside; None asks nobody, and then a command fails.

    Raises:
        ConfigError: the header of a provider cannot be expanded.
        Needed: something must be found out first.
    """
    findings = findings or Findings(asks=False)
    open_questions: list[Endpoint] = []

    def models_of(endpoint: Endpoint) -> tuple[Model, ...] | Failed:
        try:
            return findings.models(endpoint)
        except Needed:  # asked for together with those of the other providers
            open_questions.append(endpoint)
            return ()

    reading = _Reading(env, findings.output, models_of)
    catalogue = {each.id: each for each in known}
    entries = Entries()
    for provider_id, provider in catalogue.items():
        _add_known(entries, provider, given.get(provider_id), reading)
    for provider_id, entry in given.items():
        if provider_id not in catalogue and not entry.disable:
            _add(entries, _custom(provider_id, entry), reading)
    if open_questions:
        raise Needed(*open_questions)
    return entries


def _add_known(
    entries: Entries, provider: Provider, entry: ProviderConfig | None, reading: _Reading
) -> None:
    if entry is not None and entry.disable:
        return
    merged = _completed(provider, entry or ProviderConfig())
    reason = _keyless(merged, reading)
    if reason is None:
        _add(entries, merged, reading)
    elif entry is not None:
        entries.dropped[provider.id] = f"provider {provider.id!r} {reason}"


def _completed(provider: Provider, entry: ProviderConfig) -> ProviderConfig:
    """Return the entry of a known provider with what the catalogue says beside it."""
    own = {model.id for model in entry.models}
    headers = {**(provider.default_headers or {}), **(entry.extra_headers or {})}
    return replace(
        entry,
        id=provider.id,
        name=entry.name or provider.name,
        type=provider.type,
        base_url=entry.base_url or provider.api_endpoint,
        api_key=entry.api_key or provider.api_key,
        oauth=None if provider.id == "anthropic" else entry.oauth,  # not its way any more
        extra_headers=headers or None,
        models=(*entry.models, *(model for model in provider.models if model.id not in own)),
    )


def _custom(provider_id: str, entry: ProviderConfig) -> ProviderConfig:
    return replace(
        entry, id=provider_id, name=entry.name or provider_id, type=entry.type or DEFAULT_TYPE
    )


def _keyless(provider: ProviderConfig, reading: _Reading) -> str | None:
    """Return why a known provider has no key; one without a key does not count."""
    try:
        if expand(provider.api_key, reading.env, reading.outputs):
            return None
    except ConfigError as error:
        return f"has no key: {error}"
    return f"has no key: {_shown(provider.api_key)} expands to nothing"


def _add(entries: Entries, provider: ProviderConfig, reading: _Reading) -> None:
    """Keep a provider, or note why it does not count."""
    reason = _unusable(provider)
    if not reason:
        provider, reason = _with_models(entries, provider, reading)
    if reason:
        entries.dropped[provider.id] = f"provider {provider.id!r} {reason}"
    else:
        tidy = replace(provider, models=tuple(map(_tidy, provider.models)))
        entries.kept[provider.id] = compact(tidy)


def _unusable(provider: ProviderConfig) -> str:
    if not provider.base_url:
        return "has no base_url"
    if provider.type not in TYPES:
        return f"has an unknown type, {provider.type!r}; there are: {', '.join(sorted(TYPES))}"
    return ""


def _with_models(
    entries: Entries, provider: ProviderConfig, reading: _Reading
) -> tuple[ProviderConfig, str]:
    """Return a provider with all its models, and why it does not count.

    A template that fails is no reason to drop a provider: whoever uses it is told why. Only that of
    a header fails the loading (agent contract 3.4).
    """
    expand_headers(provider, reading.env, reading.outputs)
    try:
        if not expand(provider.base_url, reading.env, reading.outputs):
            return provider, f"has a base_url, {provider.base_url!r}, that expands to nothing"
        endpoint = expand_endpoint(provider, reading.env, reading.outputs)
    except ConfigError as error:
        entries.unsure.add(provider.id)
        return provider, "" if provider.models else f"lists no models, and {error}"
    if _is_asked(provider):
        found = reading.models_of(endpoint)
        if isinstance(found, Failed):
            entries.unsure.add(provider.id)
        return _with_discovered(provider, found)
    return provider, "" if provider.models else "lists no models"


def _is_asked(provider: ProviderConfig) -> bool:
    """Whether an endpoint is asked for its models (agent contract 3.4)."""
    wanted = provider.discover_models
    return provider.type in _ASKED and (wanted or (wanted is None and not provider.models))


def _with_discovered(
    provider: ProviderConfig, found: tuple[Model, ...] | Failed
) -> tuple[ProviderConfig, str]:
    """Return a provider with the models that its endpoint has, and why it does not count."""
    if isinstance(found, Failed):
        _log.warning("the models of provider %s are not known: %s", provider.id, found.reason)
        return provider, "" if provider.models else f"lists no models: {found.reason}"
    own = {model.id for model in provider.models}
    models = (*provider.models, *(model for model in found if model.id not in own))
    return replace(provider, models=models), "" if models else "has no models"


def _tidy(model: Model) -> Model:
    """Name a model that has no name, and leave out what is empty."""
    return replace(
        model,
        name=model.name or model.id,
        reasoning_levels=model.reasoning_levels or msgspec.UNSET,
        default_reasoning_effort=model.default_reasoning_effort or msgspec.UNSET,
        options=msgspec.UNSET if model.options == ModelOptions() else model.options,
    )


def _shown(template: str) -> str:
    """Return a template that consists of a variable; anything else may be a key (A2)."""
    return repr(template) if template.startswith("$") else "the template"
