"""A request as the bytes of a body in Anthropic's form (agent contract 1.11, 1.12, 1.23)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from crush_trio.providers.base import (
    CalledTool,
    FileContent,
    ModelMessage,
    ModelOptions,
    ModelRequest,
    ToolSpec,
)
from crush_trio.providers.messages_body import encode_request, thinks
from crush_trio.providers.thinking import ThinkingBlock, joined_signature

MARK = {"cache_control": {"type": "ephemeral"}}
HI = [ModelMessage("user", "hi")]


def body_of(
    messages: Sequence[ModelMessage] = HI,
    tools: Sequence[ToolSpec] = (),
    *,
    cache: bool = False,
    extra: dict[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    request = ModelRequest("m", messages, tools, ModelOptions(**options))
    return json.loads(encode_request(request, extra_body=extra, cache=cache))


def blocks_of(message: ModelMessage) -> list[dict[str, Any]]:
    return body_of([message])["messages"][0]["content"]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def test_the_smallest_body() -> None:
    """The limit is mandatory in this form."""
    assert body_of() == {
        "model": "m",
        "max_tokens": 4096,
        "stream": True,
        "messages": [{"role": "user", "content": [text("hi")]}],
    }


def test_every_kind_of_message() -> None:
    """All results of a step are in one message of the user, with what the user says behind them."""
    calls = (CalledTool("c1", "bash", '{"command": "ls"}'), CalledTool("c.2", "ls", "nonsense"))
    sent = body_of(
        [
            ModelMessage("system", "be good"),
            ModelMessage("system", "be quick"),
            ModelMessage("user", "hé"),
            ModelMessage("assistant", "I look.", tool_calls=calls),
            ModelMessage("tool", "a\nb", tool_call_id="c1"),
            ModelMessage("tool", "no", tool_call_id="c.2", is_error=True),
            ModelMessage("user", "and?"),
        ]
    )
    assert sent["system"] == [text("be good"), text("be quick")]
    called = {"type": "tool_use", "id": "c1", "name": "bash", "input": {"command": "ls"}}
    broken: dict[str, Any] = {"type": "tool_use", "id": "c_2", "name": "ls", "input": {}}
    answered = {"type": "tool_result", "tool_use_id": "c1", "content": "a\nb"}
    refused = {"type": "tool_result", "tool_use_id": "c_2", "content": "no", "is_error": True}
    assert sent["messages"] == [
        {"role": "user", "content": [text("hé")]},
        {"role": "assistant", "content": [text("I look."), called, broken]},
        {"role": "user", "content": [answered, refused, text("and?")]},
    ]


def test_files_go_in_the_form_that_their_type_has() -> None:
    """A type without a form leaves a note, so the conversation still makes sense."""
    files = tuple(
        FileContent(f"f.{kind[-3:]}", kind, b"\x01")
        for kind in ("image/png", "application/pdf", "video/mp4")
    )

    def source(kind: str) -> dict[str, str]:
        return {"type": "base64", "media_type": kind, "data": "AQ=="}

    assert blocks_of(ModelMessage("user", "see", files=files)) == [
        text("see"),
        {"type": "image", "source": source("image/png")},
        {"type": "document", "source": source("application/pdf")},
        text("[file f.mp4 of type video/mp4 left out]"),
    ]


def test_a_picture_of_a_tool_is_part_of_its_result() -> None:
    """Behind the text, if there is one."""
    picture = FileContent("tool-result-c", "image/png", b"\x01")
    sent = body_of(
        [
            *HI,
            ModelMessage("assistant", "", tool_calls=(CalledTool("c", "view", "{}"),)),
            ModelMessage("tool", "Loaded", tool_call_id="c", files=(picture,)),
        ]
    )
    (answered,) = sent["messages"][2]["content"]
    source = {"type": "base64", "media_type": "image/png", "data": "AQ=="}
    assert answered["content"] == [text("Loaded"), {"type": "image", "source": source}]


def test_reasoning_goes_back_with_its_signature() -> None:
    """In front of the answer, exactly as it came."""
    said = ModelMessage("assistant", "so", reasoning="hm", reasoning_signature="sig+/=")
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig+/="}
    assert blocks_of(said) == [thought, text("so")]


def test_reasoning_without_a_signature_stays_out() -> None:
    """Another vendor's model thought it, and this one would refuse it."""
    assert blocks_of(ModelMessage("assistant", "so", reasoning="hm")) == [text("so")]


def test_several_blocks_of_reasoning_go_back_as_they_came() -> None:
    """Each text under its own signature, and the encrypted one in its place."""
    signature = joined_signature(
        [ThinkingBlock(2, "s1"), ThinkingBlock(0, redacted="XX"), ThinkingBlock(4, "s2")]
    )
    said = ModelMessage("assistant", "so", reasoning="hmwait", reasoning_signature=signature)
    assert blocks_of(said) == [
        {"type": "thinking", "thinking": "hm", "signature": "s1"},
        {"type": "redacted_thinking", "data": "XX"},
        {"type": "thinking", "thinking": "wait", "signature": "s2"},
        text("so"),
    ]


def test_a_signature_that_cannot_be_read_leaves_the_reasoning_out() -> None:
    """It is the database's, which other programs write."""
    said = ModelMessage("assistant", "so", reasoning="hm", reasoning_signature="blocks:{")
    assert blocks_of(said) == [text("so")]


def test_reasoning_can_be_kept_from_going_back() -> None:
    """By Crush's option, and the encoded form of one choice is not that of the other."""
    said = ModelMessage("assistant", "so", reasoning="hm", reasoning_signature="s")
    talk = [*HI, said, *HI]
    assert len(body_of(talk)["messages"][1]["content"]) == 2
    assert body_of(talk, extra={"send_reasoning": False})["messages"][1]["content"] == [text("so")]


def test_what_to_cache_is_marked() -> None:
    """The last tool, the last system message and the last two messages, and nothing else."""
    tools = [ToolSpec(name, "Does.", {"properties": {}}) for name in ("a", "b")]
    talk = [
        ModelMessage("system", "one"),
        ModelMessage("system", "two"),
        ModelMessage("user", "hi"),
        ModelMessage("assistant", "", tool_calls=(CalledTool("c", "a", "{}"),)),
        ModelMessage("tool", "r", tool_call_id="c"),
    ]
    sent = body_of(talk, tools, cache=True)
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    told: dict[str, Any] = {"description": "Does.", "input_schema": schema}
    assert sent["tools"] == [{"name": "a", **told}, {"name": "b", **told, **MARK}]
    assert sent["system"] == [text("one"), text("two") | MARK]
    marked = [[MARK["cache_control"] == block.get("cache_control") for block in message["content"]]
              for message in sent["messages"]]  # fmt: skip
    assert marked == [[False], [True], [True]]
    assert "cache_control" not in json.dumps(body_of(talk, tools, cache=False))


def test_a_marker_is_not_kept_in_the_message() -> None:
    """Or a long conversation would have more markers than a request may carry."""
    talk = [*HI, ModelMessage("assistant", "ho"), ModelMessage("user", "and?")]
    first = body_of(talk, cache=True)
    longer = body_of([*talk, ModelMessage("assistant", "yes"), *HI], cache=True)
    assert json.dumps(first).count("cache_control") == 2
    assert json.dumps(longer).count("cache_control") == 2
    assert encode_request(ModelRequest("m", talk)) == encode_request(ModelRequest("m", talk))


SAMPLING: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "top_k": 3}


def test_sampling_values_go_out_unless_the_model_is_to_think() -> None:
    """The two exclude each other in this form."""
    assert body_of(**SAMPLING).items() >= SAMPLING.items()
    thinking = body_of(**SAMPLING, extra_body={"thinking": {"budget_tokens": 2000}})
    assert thinking["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert not SAMPLING.keys() & thinking.keys()
    switched_off = body_of(**SAMPLING, extra_body={"thinking": {"type": "disabled"}})
    assert switched_off["thinking"] == {"type": "disabled"}
    assert switched_off.items() >= SAMPLING.items()


@pytest.mark.parametrize(
    "options", [{"reasoning_effort": "high"}, {"extra_body": {"effort": "high"}}], ids=str
)
def test_an_effort_is_adaptive_thinking(options: dict[str, Any]) -> None:
    """Whether it comes from the model's levels or from the provider options."""
    sent = body_of(**options, temperature=1.0)
    assert (sent["output_config"], sent["thinking"]) == ({"effort": "high"}, {"type": "adaptive"})
    assert "temperature" not in sent
    assert "effort" not in sent
    assert thinks(ModelRequest("m", HI, options=ModelOptions(**options)))


@pytest.mark.parametrize(("limit", "sent"), [(None, 4096), (2000, 4000), (100, 2100)])
def test_a_limit_leaves_room_for_an_answer_behind_the_thoughts(limit: int, sent: int) -> None:
    """A budget as large as the limit is refused by the server."""
    extra = {"thinking": {"budget_tokens": 2000}}
    assert body_of(max_tokens=limit, extra_body=extra)["max_tokens"] == sent


def test_parallel_calls_can_be_switched_off() -> None:
    """By Crush's option."""
    tools = [ToolSpec("a", "Does.", {})]
    chosen = body_of(tools=tools, extra={"disable_parallel_tool_use": True})["tool_choice"]
    assert chosen == {"type": "auto", "disable_parallel_tool_use": True}


def test_extra_fields_replace_all_but_the_conversation() -> None:
    """The endpoint's outrank the call's."""
    sent = body_of(
        extra={"max_tokens": 9, "messages": [], "stream": False, "a": 1}, extra_body={"a": 2}
    )
    assert (sent["max_tokens"], sent["a"], sent["stream"]) == (9, 1, True)
    assert len(sent["messages"]) == 1


def test_a_message_without_words_is_left_out() -> None:
    """An empty block is refused."""
    talk = [ModelMessage("system", " "), ModelMessage("user", "hi"), ModelMessage("user", "")]
    sent = body_of(talk)
    assert "system" not in sent
    assert sent["messages"] == [{"role": "user", "content": [text("hi")]}]
