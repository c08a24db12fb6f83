"""What the embedded model is asked."""

import itertools

import pytest

from crush_trio.providers.base import (
    CalledTool,
    FileContent,
    ModelMessage,
    ModelOptions,
    ModelRequest,
    ToolSpec,
)
from crush_trio.providers.local_request import (
    LOCAL_CONTEXT_WINDOW,
    LOCAL_MAX_TOKENS,
    LOCAL_MODEL_ID,
    LOCAL_SYSTEM_PROMPT,
    estimate_tokens,
    local_requests,
    trim_history,
)

SYSTEM = ModelMessage("system", "Be brief.")


def user(text: str) -> ModelMessage:
    return ModelMessage("user", text)


def assistant(text: str) -> ModelMessage:
    return ModelMessage("assistant", text)


def conversation(turns: int) -> list[ModelMessage]:
    """A conversation of ``turns`` answered prompts of some 100 tokens a message."""
    return [
        message
        for turn in range(turns)
        for message in (user(f"prompt {turn} " * 30), assistant(f"answer {turn} " * 30))
    ]


def test_a_short_conversation_stays_as_it_is() -> None:
    """What fits is kept, and the very objects, so that they stay encoded."""
    messages = [SYSTEM, *conversation(2), user("next")]

    kept = trim_history(messages, 4096, 512)

    assert len(kept) == len(messages)
    assert all(ours is theirs for ours, theirs in zip(kept, messages, strict=True))


def test_a_long_conversation_loses_its_oldest_messages() -> None:
    """The system message and the newest messages are kept, within the window less the reserve."""
    messages = [SYSTEM, *conversation(20), user("next")]

    kept = trim_history(messages, 1500, 500)

    assert kept[0] is SYSTEM
    assert kept[1:] == messages[-len(kept) + 1 :]
    assert kept[1].role == "user"
    assert 300 < sum(map(estimate_tokens, kept)) <= 1000


def test_the_cut_stays_in_its_place_for_several_turns() -> None:
    """A conversation that grows keeps its start, so that the model need not read it all again."""
    messages = [SYSTEM, *conversation(40)]

    starts = [trim_history(messages[: 2 * turns], 2000, 200)[1].text for turns in range(10, 40)]

    lengths = [len(list(same)) for _, same in itertools.groupby(starts)]
    assert len(lengths) > 2
    assert min(lengths[1:-1]) >= 3


def test_the_newest_prompt_is_kept_whatever_its_size() -> None:
    """Something must be asked; the model itself says if it is too long."""
    messages = [SYSTEM, *conversation(3), user("word " * 10_000)]

    assert trim_history(messages, 1000, 100) == [SYSTEM, messages[-1]]


def test_nothing_said_means_only_the_system_message() -> None:
    """An empty conversation is no special case."""
    assert trim_history([SYSTEM], 1000, 100) == [SYSTEM]
    assert trim_history([], 1000, 100) == []


def test_tools_reasoning_and_files_are_left_out() -> None:
    """The model reads plain text only; an answer that only called tools is no answer."""
    call = CalledTool("1", "view", "{}")
    messages = [
        ModelMessage("user", "look", files=(FileContent("a.png", "image/png", b""),)),
        ModelMessage("assistant", "", tool_calls=(call,)),
        ModelMessage("tool", "much text", tool_call_id="1", tool_name="view"),
        ModelMessage("assistant", "I saw it.", reasoning="hm", tool_calls=(call,)),
        ModelMessage("tool", "more text", tool_call_id="1", tool_name="view"),
        user("and now?"),
    ]

    kept = trim_history(messages, 4096, 512)

    assert [(m.role, m.text) for m in kept] == [
        ("user", "look"),
        ("assistant", "I saw it."),
        ("user", "and now?"),
    ]
    assert not any(m.files or m.tool_calls or m.reasoning for m in kept)


def test_roles_take_turns_and_the_user_begins() -> None:
    """Neighbours of one role become one message; an answer without a prompt is dropped."""
    messages = [assistant("hello"), user("one"), user("two"), assistant("a"), assistant("b")]

    kept = trim_history([*messages, user("three")], 4096, 512)

    assert [(m.role, m.text) for m in kept] == [
        ("user", "one\n\ntwo"),
        ("assistant", "a\n\nb"),
        ("user", "three"),
    ]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        pytest.param("The quick brown fox jumps over the lazy dog. " * 10, 102, id="English"),
        pytest.param(
            "结构化并发是一种编程范式旨在通过使用结构化的方法来提高" * 5, 240, id="Chinese"
        ),
    ],
)
def test_an_estimate_is_rather_too_large_than_too_small(text: str, tokens: int) -> None:
    """Between the real count, as the model's tokenizer has it, and half as much again."""
    assert tokens * 0.9 <= estimate_tokens(user(text)) <= tokens * 1.6


def test_a_request_gets_a_prompt_limits_and_sampling_of_its_own() -> None:
    """Tools, session key and a long system prompt do not reach the model."""
    request = ModelRequest(
        "something else",
        [ModelMessage("system", "You are a coding agent. " * 500), user("hello")],
        tools=(ToolSpec("view", "look", {}),),
        session_key="key",
    )

    (asked,) = local_requests(request)

    assert asked.model == LOCAL_MODEL_ID
    assert [m.text for m in asked.messages] == [LOCAL_SYSTEM_PROMPT, "hello"]
    assert asked.tools == ()
    assert asked.session_key == ""
    assert asked.options == ModelOptions(
        max_tokens=LOCAL_MAX_TOKENS,
        temperature=0.2,
        top_p=0.9,
        extra_body={"repeat_penalty": 1.1},
    )


def test_a_short_system_prompt_and_the_options_of_a_request_count() -> None:
    """Whoever asks knows best, within the limits of the model."""
    options = ModelOptions(
        max_tokens=100_000, temperature=0.0, top_k=1, extra_body={"repeat_penalty": 1.0}
    )

    (asked,) = local_requests(ModelRequest("x", [SYSTEM, user("hello")], options=options))

    assert asked.messages[0] is SYSTEM
    assert asked.options.max_tokens == LOCAL_CONTEXT_WINDOW // 2
    assert asked.options.temperature == 0.0
    assert asked.options.extra_body == {"repeat_penalty": 1.0, "top_k": 1}


def test_a_conversation_has_a_second_form_without_its_history() -> None:
    """It is for the case that the first one is too long after all."""
    request = ModelRequest("x", [SYSTEM, user("one"), assistant("two"), user("three")])

    first, second = local_requests(request)

    assert [m.text for m in first.messages] == ["Be brief.", "one", "two", "three"]
    assert [m.text for m in second.messages] == ["Be brief.", "three"]
