"""A loaded configuration: what clients are told, and what the server needs to use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import msgspec

from crush_trio.config.calls import CallOptions, call_options
from crush_trio.config.endpoint import Endpoint, expand_endpoint
from crush_trio.config.environment import own_view
from crush_trio.config.models import Chosen, find
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Config, ProviderConfig


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
    """

    wire: Config
    data_dir: Path
    large: Chosen | None = None
    small: Chosen | None = None
    problem: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False, eq=False)

    @property
    def providers(self) -> Mapping[str, ProviderConfig]:
        """The enabled and usable providers by id."""
        return {} if self.wire.providers is msgspec.UNSET else self.wire.providers

    @property
    def is_configured(self) -> bool:
        """Whether there is a provider, which is all that clients look at (wire contract 3.3)."""
        return bool(self.providers)

    def endpoint(self, provider_id: str) -> Endpoint:
        """Return a provider's endpoint, expanded now with the environment of the loading.

        Raises:
            ConfigError: the provider is unknown, its type cannot be used yet, or a template fails.
        """
        return expand_endpoint(self._provider(provider_id), own_view(self.env))

    def chosen(self, name: str) -> Chosen:
        """Return the model called ``model`` or ``provider/model``.

        Raises:
            ConfigError: no model, or more than one, has this name; the message lists candidates.
        """
        return find(self.providers, name)

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
