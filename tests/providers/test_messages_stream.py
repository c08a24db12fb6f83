"""Bytes of a stream in Anthropic's form become deltas (agent contract 1.23)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies

from crush_trio.errors import ProviderError
from crush_trio.providers.answer import LINE_LIMIT
from crush_trio.providers.base import (
    Delta,
    ReasoningDelta,
    ReasoningEnd,
    StreamEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from crush_trio.providers.failures import transport_error
from crush_trio.providers.messages_stream import MessagesReader
from crush_trio.providers.thinking import signed_blocks


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind, **fields})


def grow(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def ending(reason: str | None, **usage: int) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage=usage)


def said(text: str, index: int = 0) -> bytes:
    return start(index, "text", text="") + grow(index, "text_delta", text=text) + stop(index)


BEGIN = event("message_start", message={"id": "m", "usage": {"input_tokens": 9}})
END = event("message_stop")

RECORDED = (
    event(
        "message_start",
        message={
            "id": "msg_1",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "usage": {
                "input_tokens": 25,
                "cache_creation_input_tokens": 7,
                "cache_read_input_tokens": 100,
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    )
    + event("ping")
    + start(0, "thinking", thinking="", signature="")
    + grow(0, "thinking_delta", thinking="Let me ")
    + grow(0, "thinking_delta", thinking="look.")
    + grow(0, "signature_delta", signature="c2lnbmVk")
    + stop(0)
    + start(1, "text", text="")
    + grow(1, "text_delta", text="I look ")
    + grow(1, "text_delta", text="at it 🐟.")
    + stop(1)
    + start(2, "tool_use", id="toolu_1", name="bash", input={})
    + grow(2, "input_json_delta", partial_json="")
    + grow(2, "input_json_delta", partial_json='{"comm')
    + grow(2, "input_json_delta", partial_json='and": "ls"}')
    + stop(2)
    + start(3, "tool_use", id="toolu_2", name="ls", input={})
    + stop(3)
    + event(
        "message_delta",
        delta={"stop_reason": "tool_use", "stop_sequence": None},
        usage={"output_tokens": 42, "output_tokens_details": {"thinking_tokens": 5}},
    )
    + END
)

HEARD: list[Delta] = [
    ReasoningDelta("Let me "),
    ReasoningDelta("look."),
    ReasoningEnd("c2lnbmVk"),
    TextDelta("I look "),
    TextDelta("at it 🐟."),
    ToolCallStart("toolu_1", "bash"),
    ToolCallArgs("toolu_1", '{"comm'),
    ToolCallArgs("toolu_1", 'and": "ls"}'),
    ToolCallEnd("toolu_1", "bash", '{"command": "ls"}'),
    ToolCallStart("toolu_2", "ls"),
    ToolCallEnd("toolu_2", "ls", "{}"),
    Usage(input=25, output=42, cache_creation=7, cache_read=100, reasoning=5),
    StreamEnd("tool_use"),
]


def read(*data: bytes) -> list[Delta | ProviderError]:
    """Read a whole answer, ended properly by the connection's end; an error is the last item."""
    reader = MessagesReader()
    for piece in data:
        reader.feed(piece)
    reader.end()
    items: list[Delta | ProviderError] = []
    try:
        while (item := reader.take()) is not None:
            items.append(item)
    except ProviderError as error:
        items.append(error)
    assert reader.finished
    return items


def test_a_whole_answer() -> None:
    """Reasoning with its signature, text, two calls, and the tokens of all."""
    assert read(RECORDED) == HEARD


@given(strategies.sets(strategies.integers(0, len(RECORDED))))
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: set[int]) -> None:
    """Not even within a character."""
    edges = [0, *sorted(cuts), len(RECORDED)]
    assert read(*(RECORDED[a:b] for a, b in pairwise(edges))) == HEARD


def test_several_blocks_of_reasoning_are_told_apart() -> None:
    """The last signature stands for all of them, in one text."""
    deltas = read(
        BEGIN,
        start(0, "thinking"),
        grow(0, "thinking_delta", thinking="hm"),
        grow(0, "signature_delta", signature="s1"),
        stop(0),
        start(1, "redacted_thinking", data="XX"),
        stop(1),
        start(2, "thinking", thinking="wa"),
        grow(2, "thinking_delta", thinking="it"),
        grow(2, "signature_delta", signature="s2"),
        stop(2),
        said("so", 3),
        ending("end_turn"),
        END,
    )
    text = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    signatures = [delta.signature for delta in deltas if isinstance(delta, ReasoningEnd)]
    assert (text, signatures[0]) == ("hmwait", "s1")
    blocks = signed_blocks(text, signatures[-1])
    assert [(part, block.signature, block.redacted) for part, block in blocks] == [
        ("hm", "s1", ""),
        ("", "", "XX"),
        ("wait", "s2", ""),
    ]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("end_turn", "end_turn"),
        ("pause_turn", "end_turn"),
        ("stop_sequence", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("model_context_window_exceeded", "max_tokens"),
        ("tool_use", "tool_use"),
        ("refusal", "content_filter"),
        ("content_filtered", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("something_new", "unknown"),
    ],
)
def test_every_reason_has_its_name(reason: str, told: str) -> None:
    """As agent contract 1.23 lists them."""
    last = read(BEGIN, ending(reason), END)[-1]
    assert isinstance(last, StreamEnd)
    assert last.reason == told


def test_arguments_may_come_with_the_start() -> None:
    """Some servers do not stream them."""
    whole = start(0, "tool_use", id="c", name="ls", input={"path": "/"}) + stop(0)
    assert read(BEGIN, whole, ending("tool_use"), END)[1] == ToolCallEnd("c", "ls", '{"path": "/"}')


def test_a_call_without_an_id_gets_one() -> None:
    """It is what its result is stored under."""
    calls = start(0, "tool_use", name="ls") + stop(0) + start(1, "tool_use", name="ls") + stop(1)
    said = BEGIN, calls, ending("tool_use")
    starts = [d.id for d in (*read(*said), *read(*said)) if isinstance(d, ToolCallStart)]
    assert len(set(starts)) == 4  # nor is there another one like it in the next answer
    assert all(start.startswith("tool-call-") for start in starts)


@pytest.mark.promise("R10")
@pytest.mark.parametrize(
    ("kind", "retryable"),
    [
        ("overloaded_error", True),
        ("api_error", True),
        ("rate_limit_error", True),
        ("invalid_request_error", False),
    ],
)
def test_an_error_in_the_stream_comes_after_what_was_said(kind: str, retryable: bool) -> None:
    """Nothing that arrived before it is lost, and its type says whether to try again."""
    failing = event("error", error={"type": kind, "message": "Overloaded"}, request_id="r")
    *before, error = read(BEGIN, said("Half an "), failing, said("ignored"))
    assert before == [TextDelta("Half an ")]
    assert isinstance(error, ProviderError)
    assert (error.title, str(error), error.retryable) == ("Stream Error", "Overloaded", retryable)


def test_a_stream_without_a_reason_broke() -> None:
    """It may be tried again; an open call stays unfinished."""
    begun = start(0, "tool_use", id="c", name="ls")
    *before, error = read(BEGIN, begun)
    assert before == [ToolCallStart("c", "ls")]
    assert isinstance(error, ProviderError)
    assert (error.title, error.retryable) == ("Stream transport error", True)


def test_an_answer_is_complete_without_its_last_event() -> None:
    """What a client needs has been said with the reason."""
    reader = MessagesReader()
    reader.feed(BEGIN + said("a") + ending("end_turn"))
    reader.fail(transport_error("cut"))
    assert (reader.take(), reader.take(), reader.take()) == (
        TextDelta("a"),
        Usage(input=9),
        StreamEnd("end_turn"),
    )


@pytest.mark.parametrize(
    "line",
    [
        b"data: {nonsense\n\n",
        b'data: {"type": 3}\n\n',
        b"data: \xff\n\n",
        start(0, "tool_use", id="c", name="ls", input={"path": "?"}).replace(b"?", b"\xff"),
    ],
)
def test_an_event_that_cannot_be_read_fails_the_answer(line: bytes) -> None:
    """With its reason; another try would hardly help."""
    error = read(BEGIN, line)[-1]
    assert isinstance(error, ProviderError)
    assert not error.retryable
    assert "an event cannot be read" in str(error)


def test_a_flood_without_an_event_is_not_kept() -> None:
    """A server that sends no line ends does not fill the memory (C3)."""
    reader = MessagesReader()
    for _ in range(LINE_LIMIT // 2**20 + 1):
        reader.feed(b"x" * 2**20)
    assert reader.finished
    with pytest.raises(ProviderError, match="no event in"):
        reader.take()
