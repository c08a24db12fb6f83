"""What a provider that checks its input would say to a conversation (R9). Pure.

The rules are those of the strictest servers in common use, so that a conversation which passes
here passes everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crush_trio.providers.base import ModelMessage


def complaint(messages: Sequence[ModelMessage]) -> str:
    """Return what is wrong with a conversation, or nothing if it is well formed."""
    talk = [message for message in messages if message.role != "system"]
    if any(message.role == "system" for message in messages[len(messages) - len(talk) :]):
        return "a system message stands behind the first message of the conversation"
    if not talk or talk[0].role != "user":
        return "the conversation does not start with a user message"
    if talk[-1].role == "assistant":
        return "the conversation ends with an assistant message"
    open_calls: set[str] = set()
    for number, message in enumerate(talk):
        wrong = _follows(message, open_calls) or _content(message)
        if wrong:
            return f"messages[{number}]: {wrong}"
        if message.role == "tool":
            open_calls.discard(message.tool_call_id)
        else:
            open_calls = {call.id for call in message.tool_calls}
    return f"no result for tool calls {sorted(open_calls)}" if open_calls else ""


def _follows(message: ModelMessage, open_calls: set[str]) -> str:
    """Return what is wrong with a message's place: results come right behind their calls."""
    if message.role == "tool":
        if message.tool_call_id not in open_calls:
            return f"result {message.tool_call_id!r} has no call before it, or is the second one"
        return ""
    return f"no result for tool calls {sorted(open_calls)}" if open_calls else ""


def _content(message: ModelMessage) -> str:
    if message.role != "assistant":
        return ""
    if not message.text.strip() and not message.tool_calls:
        return "an assistant message says nothing"
    if len({call.id for call in message.tool_calls}) < len(message.tool_calls):
        return "two tool calls have the same id"
    for call in message.tool_calls:
        if not call.id or not call.name:
            return f"tool call {call.id!r} has no id or no name"
        if not _is_object(call.arguments):
            return f"the arguments of tool call {call.id!r} are no JSON object"
    return ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
