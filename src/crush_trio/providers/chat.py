"""The chat-completions form, outbound: a request in, the bytes of its body out. Sans I/O.

A message is encoded once and its bytes are kept in the message, so a long conversation costs a
join. ``chat_stream`` is the other direction.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from crush_trio.providers.base import (
    CalledTool,
    FileContent,
    ModelMessage,
    ModelOptions,
    ModelRequest,
    ToolSpec,
)

_REASONING_FAMILIES = re.compile(r"(?:^|[/-])o[134](?:$|[-:])|gpt-oss|gpt-5")
"""Model ids that take ``max_completion_tokens`` and no sampling values (agent contract 1.23)."""

_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


def encode_request(
    request: ModelRequest,
    *,
    extra_body: Mapping[str, Any] | None = None,
    replay_reasoning: bool = True,
) -> bytes:
    """Return the body of a streaming request.

    Args:
        request: What to ask.
        extra_body: Fields that replace ours, but for the messages and the streaming.
        replay_reasoning: Whether earlier reasoning goes back to the model, as
            ``reasoning_content``. Some models want it, OpenAI's own refuse it.
    """
    body: dict[str, Any] = {"model": request.model, "stream_options": {"include_usage": True}}
    body.update(_options(request.model, request.options))
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    body.update(request.options.extra_body)
    body.update(extra_body or {})
    body.pop("messages", None)
    body["stream"] = True
    # Joined once: with a long conversation, each copy costs more than all else here.
    pieces = [
        encode_message(message, replay_reasoning=replay_reasoning) for message in request.messages
    ] or [b""]
    pieces[0] = _ENCODER.encode(body)[:-1] + b',"messages":[' + pieces[0]
    pieces[-1] += b"]}"
    return b",".join(pieces)


def encode_message(message: ModelMessage, *, replay_reasoning: bool = True) -> bytes:
    """Return one message's JSON, from its memo if it has been encoded in this form before."""
    form = "chat" if replay_reasoning or not message.reasoning else "chat without reasoning"
    encoded = message.encoded.get(form)
    if encoded is None:
        encoded = _ENCODER.encode(_message(message, replay_reasoning=replay_reasoning))
        message.encoded[form] = encoded
    return encoded


def _message(message: ModelMessage, *, replay_reasoning: bool) -> dict[str, Any]:
    match message.role:
        case "tool":
            return {
                "role": "tool",
                "tool_call_id": message.tool_call_id,
                "content": message.text,
            }
        case "assistant":
            return _answer(message, replay_reasoning=replay_reasoning)
        case "user" if message.files:
            return {"role": "user", "content": list(_parts(message))}
        case role:
            return {"role": role, "content": message.text}


def _answer(message: ModelMessage, *, replay_reasoning: bool) -> dict[str, Any]:
    # Servers want null beside tool calls, and refuse it without them.
    content = None if message.tool_calls and not message.text else message.text
    fields: dict[str, Any] = {"role": "assistant", "content": content}
    if message.reasoning and replay_reasoning:
        fields["reasoning_content"] = message.reasoning
    if message.tool_calls:
        fields["tool_calls"] = [_call(call) for call in message.tool_calls]
    return fields


def _call(call: CalledTool) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _parts(message: ModelMessage) -> Iterator[dict[str, Any]]:
    if message.text:
        yield {"type": "text", "text": message.text}
    for file in message.files:
        yield _file(file)


def _file(file: FileContent) -> dict[str, Any]:
    encoded = base64.b64encode(file.data).decode()
    url = f"data:{file.mime_type};base64,{encoded}"
    if file.mime_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if file.mime_type in _AUDIO_FORMATS:
        audio = {"data": encoded, "format": _AUDIO_FORMATS[file.mime_type]}
        return {"type": "input_audio", "input_audio": audio}
    if file.mime_type == "application/pdf":
        return {"type": "file", "file": {"filename": file.name, "file_data": url}}
    # This form has no place for it; that there was a file still matters to the conversation.
    return {"type": "text", "text": f"[file {file.name} of type {file.mime_type} left out]"}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": False,
    }
    return {"type": "function", "function": function}


def _options(model: str, options: ModelOptions) -> dict[str, Any]:
    # There is no top_k in this form; who runs a server that knows it puts it into extra_body.
    if _REASONING_FAMILIES.search(model):
        named: dict[str, Any] = {"max_completion_tokens": options.max_tokens}
    else:
        named = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "frequency_penalty": options.frequency_penalty,
            "presence_penalty": options.presence_penalty,
        }
    named["reasoning_effort"] = options.reasoning_effort or None
    return {name: value for name, value in named.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"a request cannot carry {type(value).__name__!r}")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
