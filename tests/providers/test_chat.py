"""A request as the bytes of a chat-completions body."""

from __future__ import annotations

import json
from types import MappingProxyType
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
from crush_trio.providers.chat import encode_message, encode_request


def body_of(model: str = "m", /, *messages: ModelMessage, **options: Any) -> dict[str, Any]:
    request = ModelRequest(
        model, messages or [ModelMessage("user", "hi")], options=ModelOptions(**options)
    )
    return json.loads(encode_request(request))


def wire_of(message: ModelMessage, *, replay_reasoning: bool = True) -> dict[str, Any]:
    return json.loads(encode_message(message, replay_reasoning=replay_reasoning))


def test_the_smallest_body() -> None:
    """Streaming with usage, and nothing that was not asked for."""
    assert body_of() == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_every_kind_of_message() -> None:
    """Roles, tool calls with their JSON text, results, and reasoning that goes back."""
    call = CalledTool("c1", "bash", '{"command": "ls"}')
    sent = body_of(
        "m",
        ModelMessage("system", "be good"),
        ModelMessage("user", "hé"),
        ModelMessage("assistant", "", reasoning="hm", tool_calls=(call,)),
        ModelMessage("tool", "a\nb", tool_call_id="c1", is_error=True),
        ModelMessage("assistant", "two files"),
    )
    function = {"name": "bash", "arguments": '{"command": "ls"}'}
    assert sent["messages"] == [
        {"role": "system", "content": "be good"},
        {"role": "user", "content": "hé"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a\nb"},
        {"role": "assistant", "content": "two files"},
    ]


def test_files_go_in_the_form_that_their_type_has() -> None:
    """A type without a form leaves a note, so the conversation still makes sense."""
    files = tuple(
        FileContent(f"f.{kind[-3:]}", kind, b"\x01")
        for kind in ("image/png", "application/pdf", "audio/wav", "video/mp4")
    )
    assert wire_of(ModelMessage("user", "see", files=files))["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQ=="}},
        {
            "type": "file",
            "file": {"filename": "f.pdf", "file_data": "data:application/pdf;base64,AQ=="},
        },
        {"type": "input_audio", "input_audio": {"data": "AQ==", "format": "wav"}},
        {"type": "text", "text": "[file f.mp4 of type video/mp4 left out]"},
    ]


def test_tools_are_told_with_their_schema() -> None:
    """Not strict, so that a tool may have optional parameters (agent contract 1.23)."""
    schema = MappingProxyType[str, Any](
        {"type": "object", "properties": MappingProxyType[str, Any]({})}
    )
    request = ModelRequest("m", [ModelMessage("user", "hi")], [ToolSpec("ls", "List.", schema)])
    function: dict[str, Any] = {
        "name": "ls",
        "description": "List.",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    assert json.loads(encode_request(request))["tools"] == [
        {"type": "function", "function": function}
    ]


SAMPLING: dict[str, float] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.0,
}


@pytest.mark.parametrize("model", ["gpt-4o", "qwen3:8b", "gpt-oxide", "solo1", "llama-3"])
def test_options_have_their_names(model: str) -> None:
    """What is zero is sent, what is None is left out."""
    sent = body_of(model, max_tokens=40, top_k=5, reasoning_effort="", **SAMPLING)
    assert sent["max_tokens"] == 40
    assert {name: sent[name] for name in SAMPLING} == SAMPLING
    assert not {"max_completion_tokens", "reasoning_effort", "top_k"} & sent.keys()


@pytest.mark.parametrize(
    "model", ["o1", "o3-mini", "openai/o4-mini", "gpt-oss:20b", "openai/gpt-oss-120b", "gpt-5.2"]
)
def test_reasoning_families_have_other_options(model: str) -> None:
    """Another name for the limit, and no sampling values (agent contract 1.23)."""
    sent = body_of(model, max_tokens=40, reasoning_effort="low", **SAMPLING)
    assert sent["max_completion_tokens"] == 40
    assert sent["reasoning_effort"] == "low"
    assert not {"max_tokens", *SAMPLING} & sent.keys()


def test_extra_fields_replace_ours_but_not_the_conversation() -> None:
    """The provider's outrank the request's; neither can turn the streaming off."""
    request = ModelRequest(
        "m",
        [ModelMessage("user", "hi")],
        options=ModelOptions(max_tokens=1, extra_body={"a": 1, "b": 1, "max_tokens": 2}),
    )
    extra: dict[str, Any] = {"b": 2, "stream": False, "messages": [], "stream_options": {}}
    sent = json.loads(encode_request(request, extra_body=extra))
    assert (sent["a"], sent["b"], sent["max_tokens"], sent["stream_options"]) == (1, 2, 2, {})
    assert sent["stream"] is True
    assert sent["messages"] == [{"role": "user", "content": "hi"}]


def test_a_message_is_encoded_once() -> None:
    """However many requests carry it (architecture: a turn costs what is new)."""
    message = ModelMessage("user", "hi")
    first = encode_message(message)
    assert encode_message(message) is first
    assert list(message.encoded.values()) == [first]


def test_two_forms_of_a_message_do_not_mix() -> None:
    """A session may go on with a provider that does not want reasoning back."""
    message = ModelMessage("assistant", "hello", reasoning="hm")
    assert wire_of(message)["reasoning_content"] == "hm"
    assert "reasoning_content" not in wire_of(message, replay_reasoning=False)
    assert wire_of(message)["reasoning_content"] == "hm"


def test_what_json_cannot_hold_is_named() -> None:
    """A configuration's value of a strange type is our own mistake, not the provider's."""
    with pytest.raises(TypeError, match="cannot carry 'object'"):
        encode_request(ModelRequest("m", [ModelMessage("user", "hi")]), extra_body={"a": object()})
