"""A loaded configuration: what clients are told, and what the server needs to use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import msgspec

from crush_trio.config.calls import CallOptions, call_options
from crush_trio.config.endpoint import Endpoint, expand_endpoint, require_runnable
from crush_trio.config.environment import own_view
from crush_trio.config.findings import Findings
from crush_trio.config.models import Chosen, default_small, find
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Config, Provider, ProviderConfig, SelectedModel, Token


@attrs.frozen
class Kept:
    """What this process knows beside the files of a configuration.

    Attributes:
        models: Models by kind that were chosen since the start; they outrank the files, and are
            told to clients as they were given.
        limits_completions: Whether clients are told to complete only a few paths outside a git work
            tree. Crush forgets that with the first change of a value, and is followed in it.
    """

    models: Mapping[str, SelectedModel] = attrs.field(factory=dict[str, SelectedModel])
    limits_completions: bool = True


@attrs.frozen
class Configuration:
    """One reading of all configuration files. Holds secrets, which its ``repr`` hides (A2).

    Attributes:
        wire: What clients get: complete, with templates unexpanded.
        data_dir: Absolute.
        large: The model that answers; None without a provider.
        small: The model for titles and other side work; None without a provider.
        problem: Why there can be no agent although something is configured, else None.
        env: The environment with the ``env`` table set in it, for the program's sub-processes.
        catalog: The well-known providers, whether configured or not.
        findings: What was found out while loading, such as the output of commands.
        corrections: By kind, what took the place of a configured model that does not exist; it
            belongs into the user's file (agent contract 3.3).
    """

    wire: Config
    data_dir: Path
    large: Chosen | None = None
    small: Chosen | None = None
    problem: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False, eq=False)
    catalog: tuple[Provider, ...] = attrs.field(default=(), repr=False, eq=False)
    findings: Findings = attrs.field(factory=lambda: Findings(asks=False), repr=False, eq=False)
    corrections: Mapping[str, SelectedModel] = attrs.field(
        factory=dict[str, SelectedModel], eq=False
    )

    @property
    def providers(self) -> Mapping[str, ProviderConfig]:
        """The enabled and usable providers by id."""
        return {} if self.wire.providers is msgspec.UNSET else self.wire.providers

    @property
    def is_configured(self) -> bool:
        """Whether there is a provider, which is all that clients look at (wire contract 3.3)."""
        return bool(self.providers)

    def endpoint(self, provider_id: str) -> Endpoint:
        """Return a provider's endpoint, with the environment and the commands' output of the loading.

        Raises:
            ConfigError: the provider is unknown, its type cannot be used yet, or a template fails.
        """
        known = attrs.evolve(self.findings, asks=False)  # all that there is was found out before
        return attrs.evolve(self, findings=known).asking_endpoint(provider_id)

    def asking_endpoint(self, provider_id: str) -> Endpoint:
        """Return a provider's endpoint, or ask for what has to be found out first.

        Raises:
            ConfigError: as for :meth:`endpoint`.
            Needed: a command has not been run.
        """
        provider = self._provider(provider_id)
        require_runnable(provider)
        if (renewed := self.findings.tokens.get(provider_id)) is not None:
            provider = msgspec.structs.replace(provider, api_key=renewed.access_token)
        return expand_endpoint(provider, own_view(self.env), self.findings.output)

    def token(self, provider_id: str) -> Token | None:
        """Return what a login at a provider gave, or its last renewal; None without a login."""
        if (renewed := self.findings.tokens.get(provider_id)) is not None:
            return renewed
        return self._provider(provider_id).oauth

    def renews(self, provider_id: str) -> bool:
        """Whether a key may be replaced: by a login's, or because the entry holds a command."""
        provider = self._provider(provider_id)
        if provider.oauth is not None:
            return True
        values = (provider.api_key, provider.base_url, *(provider.extra_headers or {}).values())
        return any("$(" in value or "`" in value for value in values)

    def chosen(self, name: str) -> Chosen:
        """Return the model called ``model`` or ``provider/model``.

        Raises:
            ConfigError: no model, or more than one, has this name; the message lists candidates.
        """
        return find(self.providers, name)

    def is_known(self, provider_id: str) -> bool:
        """Whether a provider is configured, or one of the catalogue."""
        return provider_id in self.providers or any(p.id == provider_id for p in self.catalog)

    def default_small_model(self, provider_id: str) -> SelectedModel:
        """Return the small model that goes with a well-known provider, else the large model (R-46)."""
        for provider in self.catalog:
            if provider.id == provider_id:
                return default_small(provider)
        return self.wire.models.get("large", SelectedModel())

    def call_options(self, chosen: Chosen, *, sub_agent: bool = False) -> CallOptions:
        """Return the options for calls of a chosen model.

        Raises:
            ConfigError: the provider is unknown, or its options contradict each other.
        """
        return call_options(chosen, self._provider(chosen.provider_id), sub_agent=sub_agent)

    def _provider(self, provider_id: str) -> ProviderConfig:
        provider = self.providers.get(provider_id)
        if provider is None:
            raise ConfigError(f"provider {provider_id!r} is not configured")
        return provider
