"""Which models a workspace uses (agent contract 3.3)."""

from __future__ import annotations

import pytest

from crush_trio.config.models import LISTED, Chosen, find, select
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, ProviderConfig, SelectedModel


def provider(provider_id: str, *names: str, type: str = "ollama") -> ProviderConfig:  # noqa: A002
    models = tuple(Model(id=name, name=name, default_max_tokens=100) for name in names)
    return ProviderConfig(id=provider_id, type=type, models=models)


PROVIDERS = {
    entry.id: entry
    for entry in (
        provider("beta", "b1", "shared", "vendor/b3"),
        provider("alpha", "a1", "a2", "shared"),
        provider("vendor", "b3"),
        provider("aaa", "claude", type="google"),
    )
}


def names(chosen: tuple[Chosen, Chosen] | None) -> list[str]:
    assert chosen is not None
    return [f"{one.provider_id}/{one.model.id}" for one in chosen]


def test_without_providers_nothing_is_selected() -> None:
    """There is no model to fall back to."""
    assert select({}, {"large": SelectedModel("m", "p")}) is None


def test_the_default_is_the_first_model_of_the_first_provider_that_can_run() -> None:
    """Alphabetically; the small model is the large one."""
    chosen = select(PROVIDERS, {})
    assert names(chosen) == ["alpha/a1", "alpha/a1"]
    assert chosen is not None
    assert chosen[0].selected == SelectedModel("a1", "alpha", max_tokens=100)


def test_a_provider_that_cannot_run_is_the_default_only_when_alone() -> None:
    """It stays in the configuration, so that its user learns why it does not work."""
    assert names(select({"aaa": PROVIDERS["aaa"]}, {})) == ["aaa/claude"] * 2


@pytest.mark.parametrize(
    ("large", "small", "expected"),
    [
        (SelectedModel("b1", "beta"), None, ["beta/b1", "beta/b1"]),
        (SelectedModel("b1", "beta"), SelectedModel("a2", "alpha"), ["beta/b1", "alpha/a2"]),
        (None, SelectedModel("b1", "beta"), ["alpha/a1", "beta/b1"]),
        (SelectedModel("no", "beta"), None, ["alpha/a1", "alpha/a1"]),
        (SelectedModel("a1", "no"), None, ["alpha/a1", "alpha/a1"]),
        (SelectedModel("b1", "beta"), SelectedModel("no", "beta"), ["beta/b1", "alpha/a1"]),
        (SelectedModel("a2", ""), None, ["alpha/a2", "alpha/a2"]),
        (SelectedModel("", "alpha"), None, ["alpha/a1", "alpha/a1"]),
        (SelectedModel("claude", "aaa"), None, ["aaa/claude", "aaa/claude"]),
    ],
)
def test_configured_models_win_where_they_exist(
    large: SelectedModel | None, small: SelectedModel | None, expected: list[str]
) -> None:
    """What does not exist falls back to the default; a missing small model is the large one."""
    given = {"large": large, "small": small}
    configured = {kind: model for kind, model in given.items() if model is not None}
    assert names(select(PROVIDERS, configured)) == expected


def test_a_selection_keeps_its_options_and_is_given_a_token_limit() -> None:
    """``max_tokens`` comes from the model only when the selection names none."""
    small = SelectedModel("shared", "beta", max_tokens=7, top_k=3)
    large = SelectedModel("b1", "beta", reasoning_effort="high", think=True, temperature=0.5)
    chosen = select(PROVIDERS, {"large": large, "small": small})
    assert chosen is not None
    assert chosen[1].selected == small
    assert chosen[0].selected == SelectedModel(
        "b1", "beta", reasoning_effort="high", think=True, temperature=0.5, max_tokens=100
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a2", "alpha/a2"),
        ("alpha/shared", "alpha/shared"),
        ("beta/vendor/b3", "beta/vendor/b3"),
        ("vendor/b3", "vendor/b3"),  # also the id of a model of beta: the full name goes first
        ("aaa/claude", "aaa/claude"),
    ],
)
def test_a_model_is_found_by_its_id_or_its_full_name(name: str, expected: str) -> None:
    """Model ids may hold slashes themselves."""
    found = find(PROVIDERS, name)
    assert f"{found.provider_id}/{found.model.id}" == expected
    assert found.selected == SelectedModel(found.model.id, found.provider_id, max_tokens=100)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shared", "model 'shared' is ambiguous; say which of alpha/shared, beta/shared"),
        (
            "none",
            (
                "model 'none' is unknown; there is aaa/claude, alpha/a1, alpha/a2, alpha/shared, "
                "beta/b1, beta/shared, beta/vendor/b3, vendor/b3"
            ),
        ),
    ],
)
def test_an_unknown_or_ambiguous_name_is_an_error_with_candidates(name: str, text: str) -> None:
    """The user can copy the right name from the message."""
    with pytest.raises(ConfigError) as caught:
        find(PROVIDERS, name)
    assert str(caught.value) == text


def test_a_long_list_of_candidates_is_cut() -> None:
    """The message stays readable."""
    many = provider("p", *(f"m{number:03}" for number in range(LISTED + 5)))
    with pytest.raises(ConfigError, match=rf"p/m000, .*p/m{LISTED - 1:03} and 5 more$"):
        find({"p": many}, "none")
    with pytest.raises(ConfigError, match=r"there is none$"):
        find({}, "none")
