"""The form of Anthropic's Messages API, outbound: a request in, the bytes of its body out. Sans I/O.

A message's blocks are encoded once and kept in the message, so a long conversation costs a join.
``messages_stream`` is the other direction.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec

from crush_trio.providers.base import (
    CalledTool,
    FileContent,
    ModelMessage,
    ModelRequest,
    ToolSpec,
)
from crush_trio.providers.thinking import signed_blocks

MAX_TOKENS = 4096
"""Limit of an answer when none is configured: this form requires one (agent contract 1.23)."""

MARKED_MESSAGES = 2
"""Messages at the end of a request that carry a cache marker (agent contract 1.11)."""

_FORM = "messages"
_MARKER = b',"cache_control":{"type":"ephemeral"}}'
_CALL_ID = re.compile(r"[^a-zA-Z0-9_-]")


def encode_request(
    request: ModelRequest, *, extra_body: Mapping[str, Any] | None = None, cache: bool = True
) -> bytes:
    """Return the body of a streaming request.

    Args:
        request: What to ask. Of its extra fields, ``effort``, ``thinking``, ``send_reasoning`` and
            ``disable_parallel_tool_use`` are Crush's names for options of this form.
        extra_body: Fields that replace ours, but for the conversation and the streaming.
        cache: Whether to mark what the vendor should keep for the next request.
    """
    body: dict[str, Any] = {"model": request.model}
    extra = {**request.options.extra_body, **(extra_body or {})}
    replay = extra.pop("send_reasoning", True) is not False
    serial = extra.pop("disable_parallel_tool_use", False) is True
    _add_options(body, request, extra)
    if serial and request.tools:
        body["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    body.update(extra)
    body.pop("messages", None)
    body["stream"] = True
    pieces = [_ENCODER.encode(body)[:-1]]
    if request.tools:
        pieces += [b',"tools":[', _list(map(_tool, request.tools), 1 if cache else 0), b"]"]
    system = [m for m in request.messages if m.role == "system" and m.text.strip()]
    if system:
        pieces += [b',"system":[', _list(map(_encoded, system), 1 if cache else 0), b"]"]
    marked = MARKED_MESSAGES if cache else 0
    pieces += [b',"messages":[', *_conversation(request.messages, marked, replay=replay), b"]}"]
    return b"".join(pieces)


def thinks(request: ModelRequest) -> bool:
    """Return whether a request asks the model to think."""
    extra = request.options.extra_body
    return bool(request.options.reasoning_effort or extra.get("effort")) or _is_on(
        extra.get("thinking")
    )


def _is_on(thinking: object) -> bool:
    if not isinstance(thinking, Mapping):
        return False
    return cast("Mapping[str, Any]", thinking).get("type") != "disabled"


def _add_options(body: dict[str, Any], request: ModelRequest, extra: dict[str, Any]) -> None:
    """Add limit, thinking and sampling; what is consumed is taken out of ``extra``."""
    options = request.options
    thinking = extra.pop("thinking", None)
    named: object = extra.pop("effort", None)
    effort = named or options.reasoning_effort
    if effort:
        body["output_config"] = {"effort": effort}
        thinking = thinking or {"type": "adaptive"}
    body["max_tokens"] = options.max_tokens or MAX_TOKENS
    if isinstance(thinking, Mapping):
        thinking = {"type": "enabled", **cast("Mapping[str, Any]", thinking)}
        body["thinking"] = thinking
        budget = thinking.get("budget_tokens")
        if isinstance(budget, int) and budget >= body["max_tokens"]:
            body["max_tokens"] += budget  # the answer comes out of the same limit
    if not _is_on(thinking):  # the two exclude each other
        for name in ("temperature", "top_p", "top_k"):
            if (value := getattr(options, name)) is not None:
                body[name] = value


# --- the conversation ----------------------------------------------------------------


def _conversation(
    messages: Sequence[ModelMessage], marked: int, *, replay: bool
) -> Iterator[bytes]:
    """Yield the bytes of all messages but the system's, neighbours of one role made one.

    Results of tools are the user's here, and all results of a step have to stand in one message.
    """
    last = ""
    first_marked = len(messages) - marked
    for number, message in enumerate(messages):
        if message.role == "system" or not (blocks := _encoded(message, replay=replay)):
            continue
        if number >= first_marked:
            blocks = _with_marker(blocks)
        role = "assistant" if message.role == "assistant" else "user"
        if role == last:
            yield b","
        else:
            head = f'{{"role":"{role}","content":['.encode()
            yield b"]}," + head if last else head
        last = role
        yield blocks
    if last:
        yield b"]}"


def _encoded(message: ModelMessage, *, replay: bool = True) -> bytes:
    """Return a message's blocks with commas between, from its memo if they have been encoded."""
    form = _FORM if replay or not message.reasoning_signature else f"{_FORM} without reasoning"
    encoded = message.encoded.get(form)
    if encoded is None:
        encoded = b",".join(map(_ENCODER.encode, _blocks(message, replay=replay)))
        message.encoded[form] = encoded
    return encoded


def _with_marker(encoded: bytes) -> bytes:
    """Return encoded objects, the last of them marked."""
    return encoded[:-1] + _MARKER


def _list(encoded: Iterator[bytes], marked: int) -> bytes:
    joined = b",".join(encoded)
    return _with_marker(joined) if marked else joined


def _blocks(message: ModelMessage, *, replay: bool) -> Iterator[dict[str, Any]]:
    match message.role:
        case "tool":
            yield _result(message)
        case "assistant":
            if replay:
                yield from _thoughts(message)
            yield from _text(message)
            yield from map(_call, message.tool_calls)
        case _:
            yield from _text(message)
            yield from map(_file, message.files)


def _result(message: ModelMessage) -> dict[str, Any]:
    content: str | list[dict[str, Any]] = message.text
    if message.files:
        content = [*_text(message), *map(_file, message.files)]
    result = {
        "type": "tool_result",
        "tool_use_id": _call_id(message.tool_call_id),
        "content": content,
    }
    return result | {"is_error": True} if message.is_error else result


def _text(message: ModelMessage) -> Iterator[dict[str, Any]]:
    if message.text.strip():  # an empty block is refused
        yield {"type": "text", "text": message.text}


def _thoughts(message: ModelMessage) -> Iterator[dict[str, Any]]:
    """Yield earlier reasoning; what another vendor's model thought has no signature and is left out."""
    for text, block in signed_blocks(message.reasoning, message.reasoning_signature):
        if block.redacted:
            yield {"type": "redacted_thinking", "data": block.redacted}
        elif block.signature:
            yield {"type": "thinking", "thinking": text, "signature": block.signature}


def _call(call: CalledTool) -> dict[str, Any]:
    try:
        arguments = msgspec.json.decode(call.arguments, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        arguments = {}
    return {"type": "tool_use", "id": _call_id(call.id), "name": call.name, "input": arguments}


def _call_id(call_id: str) -> str:
    """Return an id that this form takes, the same for the call and its result."""
    return _CALL_ID.sub("_", call_id)


def _file(file: FileContent) -> dict[str, Any]:
    kind = "image" if file.mime_type.startswith("image/") else "document"
    if kind == "document" and file.mime_type != "application/pdf":
        # This form has no place for it; that there was a file still matters to the conversation.
        return {"type": "text", "text": f"[file {file.name} of type {file.mime_type} left out]"}
    encoded = base64.b64encode(file.data).decode()
    source = {"type": "base64", "media_type": file.mime_type, "data": encoded}
    return {"type": kind, "source": source}


def _tool(tool: ToolSpec) -> bytes:
    schema = {"type": "object", **tool.parameters}
    return _ENCODER.encode(
        {"name": tool.name, "description": tool.description, "input_schema": schema}
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(f"a request cannot carry {type(value).__name__!r}")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
