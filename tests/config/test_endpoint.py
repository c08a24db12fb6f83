"""Where a provider is, at the time of use (agent contract 3.4 and 3.11)."""

from __future__ import annotations

from typing import Any

import pytest

from crush_trio.config.endpoint import RUNNABLE, Endpoint, expand_endpoint
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Config, MCPConfig, ProviderConfig

ENV = {"HOST": "h.example", "KEY": "s3cret", "TEAM": ""}


def entry(**given: Any) -> ProviderConfig:
    members: dict[str, Any] = {"id": "p", "type": "openai-compat", "base_url": "http://x"}
    return ProviderConfig(**members | given)


def test_templates_are_expanded_and_empty_headers_are_left_out() -> None:
    """Endpoint, key and headers are templates; body and prefix are taken as they are."""
    provider = entry(
        base_url="http://$HOST/v1",
        api_key="${KEY}",
        extra_headers={"X-Team": "${TEAM:-none}", "X-Empty": "$TEAM", "X-Key": "k $KEY"},
        extra_body={"a": "$KEY"},
        system_prompt_prefix="costs $5",
        flat_rate=True,
    )
    assert expand_endpoint(provider, ENV) == Endpoint(
        provider_id="p",
        type="openai-compat",
        base_url="http://h.example/v1",
        api_key="s3cret",
        headers={"X-Team": "none", "X-Key": "k s3cret"},
        extra_body={"a": "$KEY"},
        system_prompt_prefix="costs $5",
        flat_rate=True,
    )


@pytest.mark.parametrize("type_", sorted(RUNNABLE))
def test_a_key_is_not_needed(type_: str) -> None:
    """Local servers have none, and a missing one is the provider's to refuse."""
    assert expand_endpoint(entry(type=type_, api_key="$NONE"), ENV).api_key == ""


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"base_url": "$NONE"}, "provider 'p': base_url '$NONE' expands to nothing"),
        ({"base_url": "$(url)"}, "provider 'p': base_url: cannot expand '$(url)': a command"),
        ({"api_key": "${K:?no key}"}, "provider 'p': api_key: cannot expand '${K:?no key}'"),
        ({"extra_headers": {"A": "$"}}, "provider 'p': header 'A': cannot expand '$'"),
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_the_provider_and_the_key(
    given: dict[str, Any], text: str
) -> None:
    """The user learns which line of the configuration to look at."""
    with pytest.raises(ConfigError) as caught:
        expand_endpoint(entry(**given), ENV)
    assert text in str(caught.value)


@pytest.mark.parametrize(("value", "cached"), [("1", False), ("true", False), ("no", True)])
def test_prompt_caching_can_be_switched_off(value: str, cached: bool) -> None:
    """By Crush's variable, where Go reads it as true (agent contract 1.11)."""
    env = {"CRUSH_DISABLE_ANTHROPIC_CACHE": value}
    assert expand_endpoint(entry(type="anthropic"), env).cache_markers is cached
    assert expand_endpoint(entry(type="anthropic"), {}).cache_markers


@pytest.mark.promise("A2")
def test_no_repr_shows_a_secret() -> None:
    """Neither the endpoint nor the configuration that it comes from shows a key when printed."""
    provider = entry(
        base_url="http://me:s3cret@$HOST/v1?key=s3cret#s3cret",
        api_key="s3cret",
        extra_headers={"Authorization": "s3cret"},
        extra_body={"token": "s3cret"},
    )
    endpoint = expand_endpoint(provider, ENV)
    config = Config(
        providers={"p": provider}, env={"KEY": "s3cret"}, mcp={"m": MCPConfig(env={"k": "s3cret"})}
    )
    assert "s3cret" not in f"{endpoint!r} {provider!r} {config!r}"
    assert "http://h.example/v1" in repr(endpoint)
    assert "s3cret" not in repr(expand_endpoint(entry(base_url="http://[s3cret"), ENV))
