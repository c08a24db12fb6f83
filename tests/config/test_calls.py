"""Call options (agent contract 1.12)."""

from __future__ import annotations

from typing import Any

import pytest

from crush_trio.config.calls import CallOptions, call_options, effective_effort
from crush_trio.config.models import Chosen
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, ModelOptions, ProviderConfig, SelectedModel

THINKER = Model(id="m", can_reason=True, reasoning_levels=("low", "high"), default_max_tokens=100)
PLAIN = Model(id="m")


def options(
    type_: str = "openai-compat",
    *,
    model: Model = PLAIN,
    provider_id: str = "p",
    own: dict[str, Any] | None = None,
    sub_agent: bool = False,
    **selected: Any,
) -> CallOptions:
    chosen = Chosen(SelectedModel(model.id, provider_id, **selected), model, provider_id)
    provider = ProviderConfig(id=provider_id, type=type_, provider_options=own)
    return call_options(chosen, provider, sub_agent=sub_agent)


@pytest.mark.parametrize(
    ("can_reason", "levels", "default", "wanted", "effort"),
    [
        (False, ("low",), "low", "low", ""),
        (True, ("low", "high"), "low", "high", "high"),
        (True, ("low", "high"), "high", "extreme", "high"),
        (True, ("low", "high"), "high", "", "high"),
        (True, ("low", "high"), "other", "", "low"),
        (True, ("low", "high"), None, "", "low"),
        (True, (), "low", "low", ""),
        (True, None, None, "low", ""),
    ],
)
def test_the_effort_is_one_that_the_model_knows(
    can_reason: bool, levels: tuple[str, ...] | None, default: str | None, wanted: str, effort: str
) -> None:
    """The wanted one, else the model's default, else its first level."""
    given: dict[str, Any] = {"reasoning_levels": levels, "default_reasoning_effort": default}
    known = {name: value for name, value in given.items() if value is not None}
    assert effective_effort(Model(id="m", can_reason=can_reason, **known), wanted) == effort


def test_a_plain_model_sends_nothing_but_its_id() -> None:
    """What nobody set is left out."""
    assert options() == CallOptions("m")


def test_the_selection_goes_before_the_models_own_values() -> None:
    """Zero is a value; a sub-agent takes only what was selected."""
    own = ModelOptions(temperature=0.7, top_p=0.9, top_k=5)
    model = Model(id="m", default_max_tokens=100, options=own)
    got = options(model=model, temperature=0.0, frequency_penalty=1.0)
    assert (got.temperature, got.top_p, got.top_k, got.frequency_penalty) == (0.0, 0.9, 5, 1.0)
    assert got.presence_penalty is None
    assert got.max_tokens == 100
    assert options(model=model, max_tokens=7).max_tokens == 7
    sub = options(model=model, sub_agent=True, temperature=0.0)
    assert (sub.temperature, sub.top_p, sub.top_k) == (0.0, None, None)


@pytest.mark.parametrize(
    ("type_", "effort", "body"),
    [
        ("anthropic", "high", {}),
        ("openai", "high", {}),
        ("openai-compat", "high", {}),
        ("openrouter", None, {"reasoning": {"enabled": True, "effort": "high"}}),
        ("vercel", None, {"reasoning": {"enabled": True, "effort": "high"}}),
        ("litellm", None, {}),
        ("llamacpp", None, {}),
        ("lmstudio", None, {}),
        ("ollama", None, {}),
    ],
)
def test_each_type_sends_the_effort_its_own_way(
    type_: str, effort: str | None, body: dict[str, Any]
) -> None:
    """First table of the contract."""
    got = options(type_, model=THINKER, reasoning_effort="high")
    assert (got.reasoning_effort, got.extra_body) == (effort, body)
    plain = options(type_, reasoning_effort="high")
    assert (plain.reasoning_effort, plain.extra_body) == (None, {})


ENABLED, DISABLED = {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}
ADAPTIVE = {"thinking": {"type": "adaptive"}, "reasoning_split": True}


@pytest.mark.parametrize(
    ("provider_id", "model", "think", "effort", "body"),
    [
        ("hyper", THINKER, True, "low", {"thinking": True}),
        ("hyper", PLAIN, False, None, {"thinking": False}),
        ("ionet", THINKER, False, None, {"reasoning": {"effort": "low"}}),
        ("ionet", PLAIN, True, None, {"reasoning": {"effort": "medium"}}),
        ("ionet", PLAIN, False, None, {"reasoning": {"effort": "none"}}),
        ("zai", THINKER, False, "low", {**ENABLED, "tool_stream": True}),
        ("zai", PLAIN, False, None, {**DISABLED, "tool_stream": True}),
        ("deepseek", PLAIN, True, None, ENABLED),
        ("deepseek", PLAIN, False, None, DISABLED),
        ("fireworks", THINKER, True, "low", {}),
        ("fireworks", PLAIN, True, None, ENABLED),
        ("fireworks", PLAIN, False, None, DISABLED),
        ("baseten", THINKER, False, "low", {"chat_template_args": {"enable_thinking": True}}),
        ("baseten", PLAIN, False, None, {"chat_template_args": {"enable_thinking": False}}),
        ("opencode-go", Model(id="minimax-m2"), True, None, ADAPTIVE),
        ("opencode-zen", Model(id="minimax-m2"), False, None, DISABLED),
        ("opencode-zen", THINKER, False, "low", {}),
        ("alibaba-us", THINKER, False, "low", {"enable_thinking": True}),
        (
            "alibaba-singapore",
            Model(id="m", can_reason=True),
            False,
            None,
            {"enable_thinking": False},
        ),
        ("alibaba-us", PLAIN, True, None, {}),
        ("anything", PLAIN, True, None, {}),
    ],
)
def test_some_compatible_providers_need_their_own_body(
    provider_id: str, model: Model, think: bool, effort: str | None, body: dict[str, Any]
) -> None:
    """Second table of the contract."""
    got = options(provider_id=provider_id, model=model, think=think)
    assert (got.reasoning_effort, got.extra_body) == (effort, body)


@pytest.mark.parametrize(
    ("provider_id", "model", "think", "effort", "body"),
    [
        ("anthropic", PLAIN, False, None, {}),
        ("anthropic", PLAIN, True, None, {"thinking": {"budget_tokens": 2000}}),
        ("anthropic", THINKER, True, "low", {}),
        ("alibaba-us", THINKER, False, None, {"reasoning_effort": "low"}),
        ("alibaba-us", PLAIN, True, None, ENABLED),
        ("alibaba-singapore", PLAIN, False, None, DISABLED),
    ],
)
def test_anthropic_models_think_by_effort_or_by_budget(
    provider_id: str, model: Model, think: bool, effort: str | None, body: dict[str, Any]
) -> None:
    """An effort goes before the switch; two providers of the type have their own way."""
    got = options("anthropic", provider_id=provider_id, model=model, think=think)
    assert (got.reasoning_effort, got.extra_body) == (effort, body)


def test_provider_options_are_merged_deeply_from_model_to_provider_to_selection() -> None:
    """What they say goes before what would be added; ``extra_body`` lies in the body itself."""
    own = ModelOptions(provider_options={"a": 1, "deep": {"x": 1, "y": 1}, "reasoning_effort": "x"})
    model = Model(id="m", can_reason=True, reasoning_levels=("low",), options=own)
    got = options(
        model=model,
        provider_id="deepseek",
        own={"deep": {"y": 2}, "extra_body": {"thinking": {"type": "auto"}, "n": None}},
        provider_options={"a": 3, "deep": {"z": 3}},
    )
    assert got.reasoning_effort == "x"
    assert got.extra_body == {
        "a": 3,
        "deep": {"x": 1, "y": 2, "z": 3},
        "thinking": {"type": "auto"},
        "n": None,
    }


def test_provider_options_that_contradict_each_other_are_an_error() -> None:
    """The message names the key."""
    with pytest.raises(ConfigError, match="options for model 'p/m': a: string here, but number"):
        options(own={"a": 1}, provider_options={"a": "x"})


def test_openrouter_gets_the_exact_variant_of_some_models() -> None:
    """Five models are asked for with a suffix, and only there."""
    model = Model(id="z-ai/glm-4.6")
    assert options("openrouter", model=model).model_id == "z-ai/glm-4.6:exacto"
    assert options("vercel", model=model).model_id == "z-ai/glm-4.6"
