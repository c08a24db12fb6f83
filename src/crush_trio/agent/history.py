"""Stored messages to model messages (agent contract 1.6). Pure, and cheap for what it knows.

A message that is finished is converted once: the conversion is kept beside it, and with it the
form that a provider has encoded. So a turn costs what is new, however long its session is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence

from crush_trio.messages import (
    Binary,
    BinaryPart,
    Message,
    Reasoning,
    ReasoningPart,
    ShellCommandPart,
    TextPart,
    ToolCall,
    ToolResult,
)
from crush_trio.providers.base import CalledTool, FileContent, ModelMessage

INTERRUPTED = "The call was interrupted before it had a result. It may be tried again."
"""The result that a call without one gets in a request; providers refuse unanswered calls (R9)."""

ATTACHED = "The user attached the files below. Take them into account."

MEDIA_FOLLOWS = "Here is the media content from the tool result:"
"""Text in front of a tool's picture (agent contract 1.7)."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")

Memo = dict[str, tuple[ModelMessage, ...]]
"""Conversions of finished messages, by message id."""


def model_messages(
    messages: Sequence[Message],
    memo: Memo,
    *,
    summary_id: str = "",
    images: bool = False,
    inside: bool = False,
) -> list[ModelMessage]:
    """Return a conversation as a model is told it.

    Args:
        messages: The stored conversation, oldest first.
        memo: Conversions to reuse; new ones are added.
        summary_id: The message that stands for all before it, or empty.
        images: Whether the model takes pictures.
        inside: Whether a tool's picture goes inside its result, where the vendor has a place for it.
    """
    messages = _since_summary(messages, summary_id)
    found: list[ModelMessage] = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            continue
        if message.id == summary_id:
            found.append(ModelMessage("user", text=message.text.strip()))
            continue
        found.extend(_remembered(message, memo, images=images, inside=inside))
        if message.role == "assistant" and (calls := message.tool_calls):
            found.extend(
                _results(calls, _behind(messages, index), memo, images=images, inside=inside)
            )
    return found


def _results(
    calls: Sequence[ToolCall],
    later: Iterable[Message],
    memo: Memo,
    *,
    images: bool,
    inside: bool,
) -> Iterator[ModelMessage]:
    """Yield exactly one result for each call, in the calls' order, wherever it stands before the next answer.

    Pictures follow in a message of the user behind *all* results of the step: between two results
    of parallel calls a strict provider would refuse them (agent contract 1.7).
    """
    given: dict[str, ModelMessage] = {}
    pictures: list[ModelMessage] = []
    for message in later:
        if message.role == "assistant":
            break
        if message.role == "tool":
            for each in _remembered(message, memo, images=images, inside=inside):
                if each.role == "user":
                    pictures.append(each)
                else:
                    given.setdefault(each.tool_call_id, each)
    for call in calls:
        yield given.get(call.id) or _unanswered(call)
    yield from pictures


def _behind(messages: Sequence[Message], index: int) -> Iterator[Message]:
    """Yield the messages behind one; not a copy of them, which would cost the session's square."""
    return (messages[at] for at in range(index + 1, len(messages)))


def _since_summary(messages: Sequence[Message], summary_id: str) -> Sequence[Message]:
    if summary_id:
        for index, message in enumerate(messages):
            if message.id == summary_id:
                return messages[index:]
    return messages


def _remembered(
    message: Message, memo: Memo, *, images: bool, inside: bool
) -> tuple[ModelMessage, ...]:
    key = f"{message.id}{'+' if images else '-'}{'i' if inside else ''}"
    found = memo.get(key)
    if found is None:
        found = tuple(_convert(message, images=images, inside=inside))
        if message.finish is not None:
            memo[key] = found
    return found


def _convert(message: Message, *, images: bool, inside: bool) -> Iterator[ModelMessage]:
    match message.role:
        case "user":
            text = user_text(message)
            files = tuple(_files(message)) if images else ()
            if text or files:
                yield ModelMessage("user", text=text, files=files)
        case "assistant":
            said = _assistant(message)
            # What was only thought, before a cancel, is no message that a strict provider takes (R9).
            if said.text or said.tool_calls:
                yield said
        case "tool":
            for result in message.tool_results:
                yield from tool_messages(result, images=images, inside=inside)
        case "system":
            return


def user_text(message: Message) -> str:
    """Return what a user message says to a model: text, attached text files, shell commands."""
    blocks = [message.text.strip()]
    attached = [
        part.data
        for part in message.parts
        if isinstance(part, BinaryPart) and part.data.mime_type.startswith("text/")
    ]
    if attached:
        blocks[0] += f"\n<system_info>{ATTACHED}</system_info>\n" + "".join(map(_file, attached))
    blocks.extend(
        f"$ {part.data.command}\n{_ANSI.sub('', part.data.output)}\n(exit code {part.data.exit_code})"
        for part in message.parts
        if isinstance(part, ShellCommandPart)
    )
    return "\n\n".join(block for block in blocks if block)


def _file(attachment: Binary) -> str:
    tag = f"<file path='{attachment.path}'>" if attachment.path else "<file>"
    return f"{tag}\n\n{(attachment.data or b'').decode('utf-8', 'replace')}\n</file>\n"


def _files(message: Message) -> Iterator[FileContent]:
    for part in message.parts:
        if isinstance(part, BinaryPart) and not part.data.mime_type.startswith("text/"):
            data = part.data
            yield FileContent(data.path.rsplit("/", 1)[-1], data.mime_type, data.data or b"")


def _assistant(message: Message) -> ModelMessage:
    thought = next(
        (part.data for part in message.parts if isinstance(part, ReasoningPart)), Reasoning()
    )
    text = next((part.data.text for part in message.parts if isinstance(part, TextPart)), "")
    calls = tuple(CalledTool(call.id, call.name, call.input or "{}") for call in message.tool_calls)
    return ModelMessage(
        "assistant",
        text=text.strip(),
        reasoning=thought.thinking,
        reasoning_signature=thought.blocks or thought.signature,
        tool_calls=calls,
    )


def tool_messages(
    result: ToolResult, *, images: bool, inside: bool = False
) -> Iterator[ModelMessage]:
    """Yield a tool result as a model is told it.

    A picture comes inside it, or else as a message of the user.
    """
    text, files = result.content, ()
    if result.data:
        text, files = _media(result, images=images)
    if inside and files:
        text = result.content
    yield ModelMessage(
        "tool",
        text=text,
        files=files if inside else (),
        tool_call_id=result.tool_call_id,
        tool_name=result.name,
        is_error=result.is_error,
    )
    if files and not inside:
        yield ModelMessage("user", text=MEDIA_FOLLOWS, files=files)


def _media(result: ToolResult, *, images: bool) -> tuple[str, tuple[FileContent, ...]]:
    try:
        data = base64.b64decode(result.data, validate=True)
    except binascii.Error:
        return "[Image data could not be loaded]", ()
    if not images:
        return "[Image/media content not supported by this model]", ()
    file = FileContent(f"tool-result-{result.tool_call_id}", result.mime_type, data)
    return "[Image/media content loaded - see attached file]", (file,)


def _unanswered(call: ToolCall) -> ModelMessage:
    return ModelMessage(
        "tool", text=INTERRUPTED, tool_call_id=call.id, tool_name=call.name, is_error=True
    )
