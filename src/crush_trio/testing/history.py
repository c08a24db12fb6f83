"""What must hold of a stored conversation (R9)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from crush_trio.agent.history import model_messages
from crush_trio.messages import Message, ReasoningPart, ToolCallPart
from crush_trio.providers.base import ModelMessage
from crush_trio.providers.strict import complaint


def history_complaints(messages: Sequence[Message]) -> list[str]:
    """Return what keeps a conversation from being well formed, or from being gone on with."""
    found: list[str] = []
    calls: Counter[str] = Counter()
    results: Counter[str] = Counter()
    for message in messages:
        if message.finish is None:
            found.append(f"{message.role} message {message.id} has no finish")
        for part in message.parts:
            found += _part_complaints(part)
        calls.update(call.id for call in message.tool_calls)
        results.update(result.tool_call_id for result in message.tool_results)
    if calls != results:
        found.append(f"calls {sorted(calls.elements())} have results {sorted(results.elements())}")
    refused = complaint([*model_messages(messages, {}), ModelMessage("user", text="next")])
    if refused:
        found.append(f"a strict provider refuses it: {refused}")
    return found


def _part_complaints(part: object) -> list[str]:
    match part:
        case ToolCallPart(data):
            found = [] if data.finished else [f"call {data.id} is open"]
            try:
                msgspec.json.decode(data.input, type=dict[str, object])
            except msgspec.DecodeError:
                found.append(f"call {data.id} has no arguments: {data.input!r}")
            return found
        case ReasoningPart(data) if not data.finished_at:
            return ["the reasoning is open"]
        case _:
            return []
