"""Where a provider is and what it must be shown: the values of its templates, at the time of use.

An endpoint holds secrets, so its ``repr`` hides them (A2). Templates are kept in the configuration
and expanded for each use, which is also the moment when a failing one is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from crush_trio.config.environment import go_bool
from crush_trio.config.expand import Outputs, expand, no_commands
from crush_trio.errors import ConfigError
from crush_trio.wire.config import ProviderConfig

RUNNABLE = frozenset(
    {
        "anthropic",
        "openai",
        "openai-compat",
        "openrouter",
        "vercel",
        "litellm",
        "llamacpp",
        "lmstudio",
        "ollama",
        "omlx",
    }
)
"""Provider types whose models can be used now; others stay in the configuration."""

NO_CACHE_VARIABLE = "CRUSH_DISABLE_ANTHROPIC_CACHE"
"""Set to true, requests carry no prompt-cache markers (agent contract 1.11)."""


def _location(url: str) -> str:
    """Return a URL's text without user, password, query and fragment, which may be secrets."""
    try:
        parts = urlsplit(url)
        return repr(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    except ValueError:
        return "'...'"


@attrs.frozen
class Endpoint:
    """How to reach a provider. All values are expanded; treat as immutable.

    Attributes:
        extra_body: Merged into every request's body; what a call sets itself goes over it.
        system_prompt_prefix: An extra system message in front of all others, or empty.
        flat_rate: Whether use costs nothing.
        cache_markers: Whether requests say what to cache, where the type has a form for it.
    """

    provider_id: str
    type: str
    base_url: str = attrs.field(repr=_location)
    api_key: str = attrs.field(default="", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    extra_body: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False)
    system_prompt_prefix: str = attrs.field(default="", repr=False)
    flat_rate: bool = False
    cache_markers: bool = True


def require_runnable(provider: ProviderConfig) -> None:
    """Refuse a provider whose models cannot be used yet.

    Raises:
        ConfigError: its type is not among those that can.
    """
    if provider.type not in RUNNABLE:
        known = ", ".join(sorted(RUNNABLE))
        raise ConfigError(
            f"provider {provider.id!r}: type {provider.type!r} is not supported yet; "
            f"these are: {known}"
        )


def expand_endpoint(
    provider: ProviderConfig, env: Mapping[str, str], outputs: Outputs = no_commands
) -> Endpoint:
    """Return a provider's endpoint with its templates expanded.

    A header that expands to nothing is left out; an empty key is allowed, for local servers.

    Args:
        provider: The entry, with its id filled in.
        env: The program's own view of the environment.
        outputs: Is asked what commands print.

    Raises:
        ConfigError: a template fails; no value is shown.
    """
    base_url = _value(provider, "base_url", provider.base_url, env, outputs)
    if not base_url:
        raise ConfigError(
            f"provider {provider.id!r}: base_url {provider.base_url!r} expands to nothing"
        )
    return Endpoint(
        provider_id=provider.id,
        type=provider.type,
        base_url=base_url,
        api_key=_value(provider, "api_key", provider.api_key, env, outputs),
        headers=expand_headers(provider, env, outputs),
        extra_body=dict(provider.extra_body or {}),
        system_prompt_prefix=provider.system_prompt_prefix,
        flat_rate=provider.flat_rate,
        cache_markers=not go_bool(env.get(NO_CACHE_VARIABLE, "")),
    )


def expand_headers(
    provider: ProviderConfig, env: Mapping[str, str], outputs: Outputs = no_commands
) -> dict[str, str]:
    """Return a provider's own headers, expanded as for :func:`expand_endpoint`.

    Raises:
        ConfigError: a template fails; no value is shown.
    """
    headers = {
        name: _value(provider, f"header {name!r}", template, env, outputs)
        for name, template in (provider.extra_headers or {}).items()
    }
    return {name: value for name, value in headers.items() if value}


def _value(
    provider: ProviderConfig, what: str, template: str, env: Mapping[str, str], outputs: Outputs
) -> str:
    try:
        return expand(template, env, outputs)
    except ConfigError as error:
        raise ConfigError(f"provider {provider.id!r}: {what}: {error}") from None
