"""An endpoint keeps its secrets, and says clearly what is wrong with its settings."""

from __future__ import annotations

import pytest

from crush_trio.errors import ConfigError, ProviderError
from crush_trio.providers.endpoint import Endpoint

KEY = "sk-very-secret-1"


def test_the_key_is_a_bearer_token() -> None:
    """Surrounding space comes from shell commands and is not part of a key."""
    endpoint = Endpoint.of("p", "http://h/v1", f" {KEY}\n", {})
    assert endpoint.headers["authorization"] == f"Bearer {KEY}"
    assert endpoint.headers["user-agent"].startswith("crush-trio/")


def test_without_a_key_nothing_is_sent() -> None:
    """Many local servers want none."""
    assert "authorization" not in Endpoint.of("p", "http://h/v1", "", {}).headers


def test_own_headers_outrank_the_key() -> None:
    """Whatever their case."""
    endpoint = Endpoint.of("p", "http://h/v1", KEY, {"Authorization": "Token t-123456"})
    assert endpoint.headers["authorization"] == "Token t-123456"


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    "secret", [KEY, "team-token-7", "pass-word-8", "other-key-9", "user:pass-word-8"]
)
def test_no_secret_is_shown(secret: str) -> None:
    """Neither in a text that quotes it nor in the endpoint's own form."""
    endpoint = Endpoint.of(
        "p",
        "http://user:pass-word-8@h:1/v1",
        KEY,
        {"X-Team-Token": "team-token-7", "api-key": "other-key-9"},
    )
    assert secret not in endpoint.clean(f"wrong key {secret}, as in Bearer {secret}")
    assert secret not in endpoint.base_url
    assert secret not in repr(endpoint)
    error = ProviderError(f"bad {secret}", title="Unauthorized", http_status=401, retry_after=1)
    cleaned = endpoint.cleaned(error)
    assert secret not in cleaned.text
    assert (cleaned.title, cleaned.http_status, cleaned.retry_after) == ("Unauthorized", 401, 1)


def test_ordinary_headers_are_no_secrets() -> None:
    """Or every text that has one of their words would be blotted out."""
    endpoint = Endpoint.of("p", "http://h/v1", "", {"X-Team": "platform", "X-Key": "none"})
    text = "the platform has none of this"
    assert endpoint.clean(text) == text


def test_credentials_of_the_address_become_a_header() -> None:
    """An address is shown and logged, a header is not."""
    endpoint = Endpoint.of("p", "http://user:p%40ss@h:1/v1", "", {})
    assert endpoint.headers["authorization"] == "Basic dXNlcjpwQHNz"
    assert endpoint.base_url == "http://h:1/v1"


@pytest.mark.parametrize(
    "base_url", ["", "h:1/v1", "ftp://h/v1", "http://", "http://h:nine/v1", "http://h:99999/v1"]
)
def test_an_address_that_is_none_is_named(base_url: str) -> None:
    """At once, not at the first request."""
    with pytest.raises(ConfigError, match="of provider 'p' is no http or https address"):
        Endpoint.of("p", base_url, "", {})


@pytest.mark.promise("A2")
def test_a_key_that_no_header_can_hold_is_refused_without_being_told() -> None:
    """A transport would quote it in its error."""
    with pytest.raises(ConfigError, match="api_key of provider 'p'") as caught:
        Endpoint.of("p", "http://h/v1", "sk-very\nsecret", {})
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match="header 'x-token'"):
        Endpoint.of("p", "http://h/v1", "", {"X-Token": "gehe\x00im"})


@pytest.mark.parametrize(
    ("base_url", "local"),
    [
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1/v1", True),
        ("http://[::1]:8/v1", True),
        ("https://api.example.com/v1", False),
    ],
)
def test_this_machine_is_known(base_url: str, local: bool) -> None:
    """A proxy is not asked for it."""
    assert Endpoint.of("p", base_url, "", {}).is_local is local
