"""Bytes of a chat-completions stream become deltas."""

from __future__ import annotations

import json
import re
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
from crush_trio.providers.chat_stream import ChatReader
from crush_trio.providers.failures import transport_error


def event(**fields: Any) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()


def delta(finish: str | None = None, **fields: Any) -> bytes:
    return event(choices=[{"index": 0, "delta": fields, "finish_reason": finish}])


def call(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> bytes:
    function = {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": index, "id": call_id, "function": function}])


STOP = delta("stop")
DONE = b"data: [DONE]\n\n"


def taken(reader: ChatReader) -> list[Delta | ProviderError]:
    """Take all there is, an error as the last item."""
    items: list[Delta | ProviderError] = []
    try:
        while (item := reader.take()) is not None:
            items.append(item)
    except ProviderError as error:
        items.append(error)
    return items


def read(*data: bytes) -> list[Delta | ProviderError]:
    """Read a whole answer, ended properly by the connection's end."""
    reader = ChatReader()
    for piece in data:
        reader.feed(piece)
    reader.end()
    assert reader.finished
    return taken(reader)


def test_a_plain_answer() -> None:
    """Empty deltas are nothing; the usage comes before the end, whenever it was said."""
    usage = event(choices=[], usage={"prompt_tokens": 100, "completion_tokens": 10})
    assert read(delta(role="assistant", content=""), delta(content="Hé"), STOP, usage, DONE) == [
        TextDelta("Hé"),
        Usage(input=100, output=10),
        StreamEnd("end_turn"),
    ]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_ends_when_something_else_begins(key: str) -> None:
    """Two names are in use for it (agent contract 1.23)."""
    answer = read(delta(**{key: "h"}), delta(**{key: "m", "content": ""}), delta(content="a"), STOP)
    assert answer == [
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        ReasoningEnd(),
        TextDelta("a"),
        StreamEnd("end_turn"),
    ]


def test_reasoning_alone_is_ended_too() -> None:
    """Every reasoning is closed (R9)."""
    assert read(delta(reasoning="h"), STOP)[1:] == [ReasoningEnd(), StreamEnd("end_turn")]


def test_tool_calls_in_fragments() -> None:
    """Calls are complete only when the stream is, as in the reference (wire contract 6.4)."""
    answer = read(
        call(0, "a", "bash", ""),
        call(1, "b", "ls", '{"x"'),
        call(0, None, None, '{"command": '),
        call(1, None, None, ": 1}"),
        call(0, "a", "", '"ls"}'),
        delta("tool_calls"),
    )
    assert [item for item in answer if not isinstance(item, ToolCallArgs)] == [
        ToolCallStart("a", "bash"),
        ToolCallStart("b", "ls"),
        ToolCallEnd("a", "bash", '{"command": "ls"}'),
        ToolCallEnd("b", "ls", '{"x": 1}'),
        StreamEnd("tool_use"),
    ]
    assert ToolCallArgs("a", '"ls"}') in answer


def test_a_call_without_id_or_arguments_gets_some() -> None:
    """An id of its own, also in the next answer, and an empty object (agent contract 1.23)."""
    said = call(0, None, "ls", None), call(1, "", "ls", ""), STOP
    answer = [*read(*said), *read(*said)]
    ends = [item for item in answer if isinstance(item, ToolCallEnd)]
    assert {(end.name, end.arguments) for end in ends} == {("ls", "{}")}
    assert len({end.id for end in ends}) == 4
    assert all(re.fullmatch("tool-call-[01]-[0-9a-f]{16}", end.id) for end in ends)


def test_calls_that_are_all_numbered_zero_stay_apart() -> None:
    """Some servers send whole calls and never count; others leave the number out."""
    for index in (0, None):
        answer = read(call(index, "a", "ls", "{}"), call(index, "b", "rm", '{"x":'), STOP)
        more = read(
            call(index, "a", "ls", "{}"),
            call(index, "b", "rm", '{"x":'),
            call(index, None, None, "1}"),
            STOP,
        )
        assert [item.id for item in answer if isinstance(item, ToolCallStart)] == ["a", "b"]
        assert more[-2] == ToolCallEnd("b", "rm", '{"x":1}')


def test_two_calls_with_one_id_get_two() -> None:
    """A result must find its call (R9)."""
    answer = read(call(0, "a", "ls", "{}"), call(1, "a", "ls", "{}"), STOP)
    ids = [item.id for item in answer if isinstance(item, ToolCallEnd)]
    assert ids[0] == "a"
    assert ids[1].startswith("tool-call-1-")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "content_filter"),
        ("something new", "unknown"),
    ],
)
def test_finish_reasons_are_translated(said: str, meant: str) -> None:
    """And a call outranks whatever the server says (agent contract 1.23)."""
    assert read(delta(content="a"), delta(said))[-1] == StreamEnd(meant)  # pyright: ignore[reportArgumentType] -- a table of texts
    assert read(call(0, "a", "ls", "{}"), delta(said))[-1] == StreamEnd("tool_use")


def test_cached_tokens_are_not_counted_twice() -> None:
    """What a provider reports as prompt holds them (agent contract 1.23). The last report counts."""
    first = {"prompt_tokens": 1, "completion_tokens": 1}
    last: dict[str, Any] = {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 4},
        "cost": 0.25,
    }
    answer = read(delta(content="a"), event(usage=first), STOP, event(usage=last))
    reports = [item for item in answer if isinstance(item, Usage)]
    assert reports == [Usage(input=40, output=10, cache_read=60, reasoning=4, cost=0.25)]


def test_a_report_in_strange_types_is_no_failure() -> None:
    """Servers send nulls, texts and objects where numbers belong."""
    usage: dict[str, Any] = {
        "prompt_tokens": "7",
        "completion_tokens": None,
        "prompt_tokens_details": None,
        "cost": {"total": 1},
    }
    assert read(STOP, event(choices=None, usage=usage))[0] == Usage(input=7)


@pytest.mark.promise("R10")
def test_an_error_in_the_stream_comes_after_what_was_said() -> None:
    """Also when both arrive in the same bytes (wire contract 6.6)."""
    fault = {"message": "overloaded", "type": "scripted", "code": None}
    text, error, *rest = read(delta(content="Half an"), event(error=fault), delta(content="x"))
    assert (text, rest) == (TextDelta("Half an"), [])
    assert isinstance(error, ProviderError)
    assert (error.text, error.retryable) == ("stream error: overloaded", False)


def test_a_call_that_was_cut_off_is_not_complete() -> None:
    """The agent then ends it itself, with empty arguments (wire contract 6.6)."""
    answer = read(call(0, "a", "ls", '{"x": 1}'))
    assert not [item for item in answer if isinstance(item, ToolCallEnd)]


@pytest.mark.parametrize("end", [b"", DONE])
def test_an_answer_without_its_reason_was_cut_off(end: bytes) -> None:
    """A retryable transport error, said ``[DONE]`` or not (agent contract 1.23)."""
    error = read(delta(content="a"), end)[-1]
    assert isinstance(error, ProviderError)
    assert (error.title, error.retryable) == ("Stream transport error", True)


def test_a_connection_that_breaks_after_the_reason_does_no_harm() -> None:
    """Only the usage is missing; another try would throw a whole answer away."""
    reader = ChatReader()
    reader.feed(delta(content="a") + STOP)
    reader.fail(transport_error("cut"))
    assert taken(reader) == [TextDelta("a"), StreamEnd("end_turn")]


def test_an_event_that_cannot_be_read_is_an_error() -> None:
    """It says what is wrong, and nothing more is read."""
    error = read(b"data: {nonsense\n\n", STOP)[0]
    assert isinstance(error, ProviderError)
    assert "cannot be read" in str(error)


@pytest.mark.promise("C3")
def test_bytes_without_end_are_an_error() -> None:
    """A stream that is not one must not fill the memory."""
    reader = ChatReader()
    for _ in range(LINE_LIMIT // 2**20 + 1):
        reader.feed(b" " * 2**20)
    assert reader.finished


def test_comments_and_other_lines_are_ignored() -> None:
    """Keep-alive comments, event names and carriage returns."""
    noise = b": OPENROUTER PROCESSING\r\n\r\nevent: x\r\nid: 7\r\n"
    answer = read(noise, STOP.replace(b"\n", b"\r\n"), DONE.replace(b"\n", b"\r\n"))
    assert answer == [StreamEnd("end_turn")]


WHOLE = b"".join(
    [
        delta(reasoning_content="hm"),
        delta(content="Grüße 🐟"),
        call(0, "a", "bash", '{"command": '),
        call(0, None, None, '"ls"}'),
        delta("tool_calls"),
        event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2}),
        DONE,
    ]
)


@given(strategies.lists(strategies.integers(0, len(WHOLE)), max_size=20))
def test_the_cuts_between_bytes_make_no_difference(cuts: list[int]) -> None:
    """Also inside a character, a line end or a number."""
    edges = [0, *sorted(cuts), len(WHOLE)]
    assert read(*(WHOLE[start:end] for start, end in pairwise(edges))) == read(WHOLE)
