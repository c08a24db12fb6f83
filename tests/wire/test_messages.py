"""Messages as clients see them, and what never leaves the store."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import (
    STOP,
    Binary,
    BinaryPart,
    Finish,
    FinishPart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    Text,
    TextPart,
    ToolCall,
    ToolCallPart,
    ToolResult,
    ToolResultPart,
    decode_parts,
    encodable,
    encode_parts,
)
from crush_trio.wire.messages import WireMessage, wire_message


def sent(*parts: Part, **fields: Any) -> Any:
    """Return the JSON of a message on the wire."""
    message = Message(MessageID("m"), SessionID("s"), "assistant", parts, **fields)
    encoded = msgspec.json.encode(wire_message(message))
    assert msgspec.json.decode(encoded, type=WireMessage) == wire_message(message)
    return json.loads(encoded)


def test_a_message_always_has_parts() -> None:
    """Also the one that has just been created (wire contract 3.10)."""
    assert sent() == {
        "parts": [],
        "id": "m",
        "role": "assistant",
        "session_id": "s",
        "model": "",
        "provider": "",
        "created_at": 0,
        "updated_at": 0,
    }
    assert sent(is_summary_message=True)["is_summary_message"] is True


@pytest.mark.parametrize(
    ("part", "data"),
    [
        (
            ReasoningPart(Reasoning("Hm.", "sig", "thought", "tool", {"a": 1}, 5, 6)),
            {"thinking": "Hm.", "signature": "sig", "started_at": 5, "finished_at": 6},
        ),
        (ReasoningPart(Reasoning("Hm.")), {"thinking": "Hm.", "signature": ""}),
        (
            ToolCallPart(ToolCall("c", "bash", "{}", provider_executed=True, finished=True)),
            {"id": "c", "name": "bash", "input": "{}", "finished": True},
        ),
        (ToolCallPart(ToolCall("c", "bash")), {"id": "c", "name": "bash", "input": ""}),
        (
            ToolResultPart(ToolResult("c", "bash", "out")),
            {
                "tool_call_id": "c",
                "name": "bash",
                "content": "out",
                "metadata": "",
                "is_error": False,
            },
        ),
        (
            ToolResultPart(ToolResult("c", "view", "x", "cG5n", "image/png", "{}", is_error=True)),
            {
                "tool_call_id": "c",
                "name": "view",
                "content": "x",
                "data": "cG5n",
                "mime_type": "image/png",
                "metadata": "{}",
                "is_error": True,
            },
        ),
        (
            BinaryPart(Binary("/p/a", "image/png", b"png")),
            {"Path": "/p/a", "MIMEType": "image/png", "Data": "cG5n"},
        ),
        (FinishPart(Finish("stop")), {"reason": "stop", "time": 0}),
        (
            FinishPart(Finish("canceled", 5, "User canceled request")),
            {"reason": "canceled", "time": 5, "message": "User canceled request"},
        ),
    ],
)
def test_a_part_is_told_without_what_is_the_stores_own(part: Part, data: dict[str, Any]) -> None:
    """Wire contract 6.1: which keys are left out differs from type to type."""
    assert sent(part)["parts"][0]["data"] == data


@pytest.mark.promise("R9", "C1")
def test_parts_come_back_from_the_store_as_they_went() -> None:
    """With all that the wire does not carry."""
    parts: tuple[Part, ...] = (
        ReasoningPart(Reasoning("Hm.", "sig", "thought", "tool", {"a": [1]}, 5, 6)),
        TextPart(Text("é\u2028\x00")),
        ToolCallPart(ToolCall("c", "bash", "{}", provider_executed=True)),
        ToolResultPart(ToolResult("c", "bash", "out")),
        BinaryPart(Binary("/p/a", "image/png", b"\x00\xff")),
        STOP,
    )
    assert decode_parts(encode_parts(parts)) == parts


def test_a_message_knows_its_text_calls_results_and_finish() -> None:
    """The first text is the answer."""
    message = Message(
        MessageID("m"),
        SessionID("s"),
        "assistant",
        (
            TextPart(Text("one")),
            TextPart(Text("two")),
            ToolCallPart(ToolCall("c", "bash")),
            ToolResultPart(ToolResult("c")),
        ),
    )
    assert message.text == wire_message(message).text == "one"
    assert [call.id for call in message.tool_calls] == ["c"]
    assert [result.tool_call_id for result in message.tool_results] == ["c"]
    assert message.finish is None


def test_half_a_surrogate_pair_is_replaced() -> None:
    """Neither the database nor an event takes it."""
    assert encodable("a\ud83d b") == "a? b"
    assert encodable("é😀") == "é😀"
