"""Which providers count (agent contract 3.4 and 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from crush_trio.config.catalog import TYPES, embedded_catalog, known_providers
from crush_trio.config.endpoint import Endpoint
from crush_trio.config.entries import Entries, prepare
from crush_trio.config.expand import Failed
from crush_trio.config.findings import Findings, Needed
from crush_trio.config.models import select
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, Provider, ProviderConfig, SelectedModel

KNOWN = Provider(
    name="Acme",
    id="acme",
    api_key="$ACME_KEY",
    api_endpoint="https://acme.invalid/v1",
    type="openai",
    default_large_model_id="big",
    default_small_model_id="tiny",
    models=(Model(id="other"), Model(id="big"), Model(id="tiny", default_max_tokens=7)),
    default_headers={"X-A": "a", "X-B": "b"},
)
OTHER = Provider(name="Other", id="other", api_key="$OTHER_KEY", api_endpoint="https://o/v1",
    type="openai-compat", models=(Model(id="m"),))  # fmt: skip


def sorted_out(
    given: dict[str, Any] | None = None, findings: Findings | None = None, **env: str
) -> Entries:
    entries = {name: ProviderConfig(**entry) for name, entry in (given or {}).items()}
    return prepare(entries, env, known=(KNOWN, OTHER), findings=findings)


def test_a_known_provider_counts_as_soon_as_there_is_a_key() -> None:
    """Nothing has to be configured; the template stays a template."""
    assert sorted_out() == Entries({}, {})
    found = sorted_out(ACME_KEY="k").kept
    assert list(found) == ["acme"]
    provider = found["acme"]
    assert (provider.name, provider.api_key) == ("Acme", "$ACME_KEY")
    assert (provider.base_url, provider.type) == ("https://acme.invalid/v1", "openai")
    assert [model.id for model in provider.models] == ["other", "big", "tiny"]


def test_an_entry_of_the_user_goes_over_the_catalogue() -> None:
    """Key and address replaced, models in front, headers laid over; the type stays."""
    entry = {
        "api_key": "$MINE",
        "base_url": "http://proxy/v1",
        "type": "ollama",
        "extra_headers": {"X-A": "mine", "X-C": "c"},
        "models": (Model(id="own"), Model(id="big", name="Mine")),
    }
    provider = sorted_out({"acme": entry}, MINE="k").kept["acme"]
    assert (provider.api_key, provider.base_url) == ("$MINE", "http://proxy/v1")
    assert provider.type == "openai"
    assert provider.extra_headers == {"X-A": "mine", "X-B": "b", "X-C": "c"}
    assert [model.id for model in provider.models] == ["own", "big", "other", "tiny"]
    assert provider.models[1].name == "Mine"


def test_a_known_provider_without_its_key_says_so_only_to_who_configured_it() -> None:
    """A disabled one says nothing."""
    entries = sorted_out({"acme": {"flat_rate": True}, "other": {"disable": True}}, OTHER_KEY="k")
    assert entries.kept == {}
    assert entries.dropped == {"acme": "provider 'acme' has no key: '$ACME_KEY' expands to nothing"}


@pytest.mark.promise("A2")
def test_a_key_that_fails_is_named_without_being_shown() -> None:
    """It may be half a key and half a template."""
    text = sorted_out({"acme": {"api_key": "sk-s3cret${X:?set X}"}}).dropped["acme"]
    assert "set X" in text
    assert "s3cret" not in text


def test_a_custom_provider_needs_a_known_type() -> None:
    """The error lists those that there are."""
    entries = sorted_out({"mine": {"type": "openai-compatible", "base_url": "http://x"}})
    assert (
        "unknown type, 'openai-compatible'; there are: anthropic, azure" in entries.dropped["mine"]
    )


def test_a_header_that_fails_fails_the_loading() -> None:
    """As the contract has it, and the message names provider and header."""
    entry = {"base_url": "http://x", "models": (Model(id="m"),), "extra_headers": {"A": "$(x)"}}
    with pytest.raises(ConfigError, match=r"provider 'mine': header 'A': cannot expand '\$\(x\)'"):
        sorted_out({"mine": entry})


# --- discovery -------------------------------------------------------------------------------

LOCAL: dict[str, Any] = {"base_url": "http://x"}


def questions(given: dict[str, Any], findings: Findings) -> list[Endpoint]:
    """Return the endpoints that must be asked before these entries can be sorted out."""
    with pytest.raises(Needed) as caught:
        sorted_out(given, findings)
    return [question for question in caught.value.questions if isinstance(question, Endpoint)]


def test_endpoints_are_asked_all_at_once() -> None:
    """Those that list no models, and those that want it."""
    given = {
        "empty": LOCAL,
        "more": LOCAL | {"models": (Model(id="m"),), "discover_models": True},
        "enough": LOCAL | {"models": (Model(id="m"),)},
        "never": LOCAL | {"discover_models": False},
        "claude": LOCAL | {"type": "anthropic"},
    }
    assert [asked.provider_id for asked in questions(given, Findings())] == ["empty", "more"]


def test_what_an_endpoint_has_comes_behind_what_the_user_lists() -> None:
    """A model that the user describes is not described again."""
    given = {"more": LOCAL | {"models": (Model(id="m", name="Mine"),), "discover_models": True}}
    findings = Findings()
    findings.add_models(questions(given, findings)[0], (Model(id="m"), Model(id="n")))
    provider = sorted_out(given, findings).kept["more"]
    assert [(model.id, model.name) for model in provider.models] == [("m", "Mine"), ("n", "n")]


@pytest.mark.promise("C3")
def test_an_endpoint_that_does_not_answer_costs_only_a_provider_without_models() -> None:
    """The other one goes on with those that the user lists."""
    given = {
        "empty": LOCAL,
        "more": LOCAL | {"models": (Model(id="m"),), "discover_models": True},
    }
    findings = Findings()
    for endpoint in questions(given, findings):
        findings.add_models(endpoint, Failed("connection refused"))
    entries = sorted_out(given, findings)
    assert list(entries.kept) == ["more"]
    assert entries.dropped == {"empty": "provider 'empty' lists no models: connection refused"}
    assert findings.succeeded() == Findings()


# --- the catalogue -----------------------------------------------------------------------------


def test_the_embedded_catalogue_is_whole() -> None:
    """It says where it is from; every provider has its defaults among its models, and prices."""
    catalog = embedded_catalog()
    assert catalog.source
    assert len(catalog.date.split("-")) == 3
    assert [each.id for each in catalog.providers][:3] == ["anthropic", "openai", "gemini"]
    assert {"openrouter", "groq", "xai", "deepseek", "mistral"} <= {p.id for p in catalog.providers}
    for provider in catalog.providers:
        assert provider.type in TYPES
        assert provider.api_key.startswith("$")
        models = {model.id: model for model in provider.models}
        assert len(models) == len(provider.models)
        assert provider.default_large_model_id in models
        assert provider.default_small_model_id in models
        for model in models.values():
            assert model.context_window > model.default_max_tokens > 0
            assert model.cost_per_1m_out >= model.cost_per_1m_in >= model.cost_per_1m_out_cached
            levels = model.reasoning_levels or ()
            assert not levels or model.default_reasoning_effort in levels
            assert model.can_reason or not levels


def test_what_crush_has_fetched_goes_before_the_embedded_catalogue(tmp_path: Any) -> None:
    """Unless it may not, is broken, or has nothing that can be understood."""
    env = {"HOME": str(tmp_path)}
    cache = tmp_path / ".local/share/crush/providers.json"
    embedded = embedded_catalog().providers
    assert known_providers(env) == embedded
    cache.parent.mkdir(parents=True)
    cache.write_text(
        '[{"id": "new", "name": "New", "type": "openai", "models": [{"id": "m", "more": 1}]},'
        ' {"id": "odd", "type": "telepathy", "models": [{"id": "m"}]}]'
    )
    assert [provider.id for provider in known_providers(env)] == ["new"]
    assert known_providers(env, cached=False) == embedded
    for broken in ("{", "{}", "[]", '[{"id": 5}]'):
        cache.write_text(broken)
        assert known_providers(env) == embedded


@pytest.mark.parametrize(
    ("env", "given", "configured", "expected"),
    [
        ("ACME OTHER", {}, {}, ["acme/big", "acme/tiny"]),
        ("OTHER", {}, {}, ["other/m", "other/m"]),
        ("", {"zoo": LOCAL}, {}, ["zoo/z", "zoo/z"]),
        ("OTHER", {"aaa": LOCAL}, {}, ["other/m", "other/m"]),
        ("ACME", {"zoo": LOCAL}, {"large": "zoo/z"}, ["zoo/z", "zoo/z"]),
        ("ACME OTHER", {}, {"large": "other/m"}, ["other/m", "acme/tiny"]),
        ("ACME", {}, {"small": "acme/other"}, ["acme/big", "acme/other"]),
    ],
)
def test_the_defaults_are_those_of_the_first_known_provider(
    env: str, given: dict[str, Any], configured: dict[str, str], expected: list[str]
) -> None:
    """Agent contract 3.3; the small model beside a custom provider's large one is that one."""
    given = {name: entry | {"models": (Model(id="z"),)} for name, entry in given.items()}
    keys = {f"{name}_KEY": "k" for name in env.split()}
    wanted = {
        kind: SelectedModel(name.split("/")[1], name.split("/")[0])
        for kind, name in configured.items()
    }
    chosen = select(sorted_out(given, None, **keys).kept, wanted, (KNOWN, OTHER))
    assert chosen is not None
    assert [f"{one.provider_id}/{one.model.id}" for one in chosen] == expected
