"""The chat-completions form from the server's side: requests in, chunks out. Sans I/O.

Only the scripted model's endpoint needs it; ``providers.chat`` is the client's side.
"""

from __future__ import annotations

import base64
from typing import Any, cast

import msgspec

from crush_trio.providers.base import (
    CalledTool,
    Delta,
    FileContent,
    ModelMessage,
    ModelOptions,
    ModelRequest,
    ReasoningDelta,
    StreamEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallStart,
    ToolSpec,
    Usage,
)

_REASONS = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


def chunks(delta: Delta, calls: dict[str, int], model: str) -> list[dict[str, Any]]:
    """Return the chunks that a delta is on this wire; ``calls`` numbers the tool calls."""
    change: dict[str, Any] = {}
    finish: str | None = None
    match delta:
        case TextDelta(text=text):
            change["content"] = text
        case ReasoningDelta(text=text):
            change["reasoning_content"] = text
        case ToolCallStart(id=call_id, name=name):
            calls[call_id] = len(calls)
            function = {"name": name, "arguments": ""}
            call = {"index": calls[call_id], "id": call_id, "type": "function"}
            change["tool_calls"] = [call | {"function": function}]
        case ToolCallArgs(id=call_id, fragment=fragment):
            change["tool_calls"] = [{"index": calls[call_id], "function": {"arguments": fragment}}]
        case Usage():
            return [_chunk(model, usage=_usage(delta))]
        case StreamEnd(reason=reason):
            finish = _REASONS.get(reason, reason)
        case _:
            return []  # the ends of reasoning and calls are not said on this wire
    return [_chunk(model, choices=[{"index": 0, "delta": change, "finish_reason": finish}])]


def _chunk(model: str, **fields: Any) -> dict[str, Any]:
    fixed = {"id": "scripted", "object": "chat.completion.chunk", "created": 1, "model": model}
    return {**fixed, "choices": [], **fields}


def _usage(usage: Usage) -> dict[str, Any]:
    prompt = usage.input + usage.cache_read
    return {
        "prompt_tokens": prompt,
        "completion_tokens": usage.output,
        "total_tokens": prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        "cost": usage.cost,
    }


def fault(message: str, *, retryable: bool = False) -> dict[str, Any]:
    """Return an error object, for a body or for the middle of a stream."""
    kind = "server_error" if retryable else "scripted"
    return {"error": {"message": message, "type": kind, "code": None}}


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}


class _Named(msgspec.Struct):
    function: _Function
    id: str = ""


class _URL(msgspec.Struct):
    url: str = ""


class _Part(msgspec.Struct):
    type: str
    text: str = ""
    image_url: _URL = msgspec.field(default_factory=_URL)


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    reasoning_content: str = ""
    tool_calls: list[_Named] = []
    tool_call_id: str = ""


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool = False
    tools: list[_Named] = []
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning_effort: str | None = None


def read_request(body: bytes, headers: dict[bytes, bytes]) -> ModelRequest:
    """Return the request that arrived, as the sender's provider was given it.

    Raises:
        msgspec.MsgspecError: the body is no request for a streaming completion.
        binascii.Error: a picture is not base64.
    """
    read = msgspec.json.decode(body, type=_Body)
    if not read.stream:
        raise msgspec.ValidationError("stream: a scripted model only streams")
    return ModelRequest(
        model=read.model,
        messages=[_message(message) for message in read.messages],
        tools=[
            ToolSpec(tool.function.name, tool.function.description, tool.function.parameters)
            for tool in read.tools
        ],
        options=ModelOptions(
            max_tokens=read.max_tokens or read.max_completion_tokens,
            temperature=read.temperature,
            top_p=read.top_p,
            reasoning_effort=read.reasoning_effort,
        ),
        session_key=headers.get(b"x-session-id", b"").decode("latin-1"),
    )


def _message(message: _Message) -> ModelMessage:
    parts = message.content if isinstance(message.content, list) else []
    text = message.content if isinstance(message.content, str) else ""
    return ModelMessage(
        role=cast("Any", message.role),
        text=text or "\n".join(part.text for part in parts if part.type == "text"),
        reasoning=message.reasoning_content,
        files=tuple(_picture(part.image_url.url) for part in parts if part.type == "image_url"),
        tool_calls=tuple(
            CalledTool(call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls
        ),
        tool_call_id=message.tool_call_id,
    )


def _picture(url: str) -> FileContent:
    head, _, encoded = url.removeprefix("data:").partition(",")
    return FileContent("", head.partition(";")[0], base64.b64decode(encoded))
