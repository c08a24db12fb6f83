"""Messages told by what is new in them, as bytes and back."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import msgspec
import pytest

from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import (
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
)
from crush_trio.wire.deltas import DeltaView, MessageAssembler
from crush_trio.wire.events import (
    Change,
    Event,
    RunComplete,
    message_event,
    run_complete_event,
    session_event,
)
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sessions import Session


def state(*parts: Part, change: Change = "updated", streaming: bool = False) -> Event:
    """Return one state of the message ``m``."""
    message = Message(MessageID("m"), SessionID("s"), "assistant", parts)
    return message_event(change, message, streaming=streaming)


def snapshot(*parts: Part) -> Event:
    """Return a state that the next one replaces."""
    return state(*parts, streaming=True)


def text(words: str) -> TextPart:
    return TextPart(Text(words))


def thought(words: str, *, done: bool = False) -> ReasoningPart:
    end = 2 if done else msgspec.UNSET
    return ReasoningPart(Reasoning(words, "sig" if done else "", started_at=1, finished_at=end))


CALL = ToolCallPart(ToolCall("c", "ls", "{}", finished=True))
DONE = FinishPart(Finish("end_turn", 3))


class Line:
    """A reader of deltas, with what it was sent and what it makes of it."""

    def __init__(self) -> None:
        self.view = DeltaView()
        self.assembler = MessageAssembler()

    def tell(self, event: Event) -> list[dict[str, Any]]:
        """Send an event; return the outer JSON of its frames, and check that it is whole again."""
        frames = self.view.frames(event)
        self.view.sent(event)
        told = [frame.removeprefix(b"data: ").removesuffix(b"\n\n") for frame in frames]
        taken = [self.assembler.take(line) for line in told]
        assert taken[-1] is not None
        assert taken[-1].payload == event.payload
        return [json.loads(line) for line in told]

    def told_parts(self, event: Event) -> list[Any]:
        """Send an event that comes as one ``message``; return its parts."""
        (told,) = self.tell(event)
        assert told["type"] == "message"
        return told["payload"]["payload"]["parts"]


def deltas(told: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    """Return part, offset and text of each frame, all of which must be deltas."""
    assert {each["type"] for each in told} == {"message_delta"}
    assert {each["payload"]["type"] for each in told} == {"created"}
    payloads = [each["payload"]["payload"] for each in told]
    assert {(each["message_id"], each["session_id"]) for each in payloads} == {("m", "s")}
    return [(each["part"], each["offset"], each["text"]) for each in payloads]


# --- what is told ---------------------------------------------------------------------------


@pytest.mark.promise("S5")
def test_the_bytes_of_a_delta_are_the_documented_ones() -> None:
    """docs/wire.md; other clients are written after it."""
    view = DeltaView()
    first = snapshot(text("Hel"))
    assert view.frames(first) == (first.frame,)
    view.sent(first)
    (frame,) = view.frames(snapshot(text("Hello")))
    assert frame == (
        b'data: {"type":"message_delta","payload":{"type":"created","payload":{"message_id":"m",'
        b'"session_id":"s","part":0,"offset":3,"text":"lo"}}}\n\n'
    )


def test_text_that_grows_is_told_by_what_is_new() -> None:
    """Offsets count characters, whatever their bytes."""
    line = Line()
    assert line.told_parts(state(change="created")) == []
    assert line.told_parts(snapshot(text("é😀"))) == [{"type": "text", "data": {"text": "é😀"}}]
    assert deltas(line.tell(snapshot(text("é😀 und")))) == [(0, 2, " und")]
    assert deltas(line.tell(snapshot(text("é😀 und mehr")))) == [(0, 6, " mehr")]


def test_reasoning_and_text_may_grow_in_one_step() -> None:
    """For a reader that was slow; one frame each."""
    line = Line()
    line.tell(snapshot(thought("hm"), text("a")))
    assert deltas(line.tell(snapshot(thought("hmm"), text("ab")))) == [(0, 2, "m"), (1, 1, "b")]


def test_a_new_part_comes_with_a_message_event() -> None:
    """Which tells the rest of the parts that were there."""
    line = Line()
    line.tell(snapshot(thought("hm")))
    assert line.told_parts(snapshot(thought("hmm"), text("a"))) == [
        {
            "type": "reasoning",
            "data": {"thinking": "m", "signature": "", "started_at": 1, "offset": 2},
        },
        {"type": "text", "data": {"text": "a"}},
    ]


def test_text_that_goes_on_while_something_else_has_changed_is_no_mere_delta() -> None:
    """A retry began to think later, but thought the same; the message event tells both."""
    line = Line()
    line.tell(snapshot(thought("hm")))
    again = snapshot(ReasoningPart(Reasoning("hmm", started_at=5)))
    assert line.told_parts(again) == [
        {
            "type": "reasoning",
            "data": {"thinking": "m", "signature": "", "started_at": 5, "offset": 2},
        }
    ]


def test_tool_calls_and_the_finish_repeat_no_text() -> None:
    """Nor does the end of reasoning; all else of the message is there."""
    line = Line()
    line.tell(snapshot(thought("hm"), text("Look")))
    finished = state(thought("hm", done=True), text("Look"))
    assert [part["data"]["offset"] for part in line.told_parts(finished)] == [2, 4]
    called = line.told_parts(state(thought("hm", done=True), text("Look: "), CALL))
    assert called[1] == {"type": "text", "data": {"text": ": ", "offset": 4}}
    assert called[2]["data"]["finished"]
    end = line.told_parts(state(thought("hm", done=True), text("Look: "), CALL, DONE))
    assert end[1] == {"type": "text", "data": {"text": "", "offset": 6}}
    assert end[-1] == {"type": "finish", "data": {"reason": "end_turn", "time": 3}}


def test_a_state_that_says_nothing_new_is_still_told() -> None:
    """Its id must come: an absent id would mean that a newer state follows."""
    line = Line()
    line.tell(snapshot(text("a")))
    assert line.told_parts(snapshot(text("a"))) == [
        {"type": "text", "data": {"text": "", "offset": 1}}
    ]


def test_a_retry_is_told_whole() -> None:
    """Whether the reader sees the empty state between, or only the other text."""
    line = Line()
    line.tell(snapshot(thought("hm"), text("Wrong answer")))
    assert line.told_parts(snapshot()) == []
    assert line.told_parts(snapshot(text("Right"))) == [{"type": "text", "data": {"text": "Right"}}]
    longer = snapshot(text("Quite another one"))
    assert line.tell(longer) == [json.loads(longer.frame[6:])]
    assert line.told_parts(snapshot(thought("Quite another one and more"))) == [
        {
            "type": "reasoning",
            "data": {"thinking": "Quite another one and more", "signature": "", "started_at": 1},
        }
    ]


def test_what_is_finished_is_not_remembered() -> None:
    """On neither side: a finish that is replaced later comes whole."""
    line = Line()
    line.tell(snapshot(text("a")))
    line.tell(state(text("ab"), DONE))
    assert (repr(line.view), repr(line.assembler)) == (
        "<DeltaView 0 unfinished>",
        "<MessageAssembler 0 unfinished>",
    )
    assert line.told_parts(state(text("ab"), DONE))[0] == {"type": "text", "data": {"text": "ab"}}


@pytest.mark.parametrize(
    ("end", "left"),
    [
        (run_complete_event(RunComplete("s", "r", "m")), 0),
        (run_complete_event(RunComplete("s", "r")), 1),  # a prompt that waited, beside the run
        (run_complete_event(RunComplete("other", "r", "m")), 1),
        (session_event("deleted", Session(id="s")), 0),
        (session_event("updated", Session(id="s")), 1),
        (state(text("a"), change="deleted"), 0),
    ],
)
def test_what_nobody_will_finish_is_forgotten_on_both_sides(end: Event, left: int) -> None:
    """Else a reader would grow for as long as it lives. What comes later is understood."""
    line = Line()
    line.tell(snapshot(text("a")))
    line.tell(end)
    assert (repr(line.view), repr(line.assembler)) == (
        f"<DeltaView {left} unfinished>",
        f"<MessageAssembler {left} unfinished>",
    )
    line.tell(snapshot(text("ab")))


def test_a_frame_that_was_not_sent_changes_nothing() -> None:
    """It did not fit into a chunk, say."""
    line = Line()
    line.tell(snapshot(text("a")))
    line.view.frames(snapshot(text("ab")))
    assert deltas(line.tell(snapshot(text("abc")))) == [(0, 1, "bc")]


def test_readers_at_the_same_place_share_frames_and_leave_no_trace() -> None:
    """A delta is encoded once for all of them, and keeps no old snapshot alive."""
    one, two, slow = DeltaView(), DeltaView(), DeltaView()
    first = snapshot(text("a"))
    for view in (one, two):
        view.sent(first)
    second = snapshot(text("ab"))
    assert one.frames(second) is two.frames(second)
    assert slow.frames(second) == (second.frame,)
    for view in (one, two):
        view.sent(second)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert not second.continuations


# --- what is understood -------------------------------------------------------------------------


def test_a_stream_without_deltas_is_understood_too() -> None:
    """Whole messages are whole, and other events are what they are."""
    assembler = MessageAssembler()
    for event in (snapshot(text("a")), snapshot(text("b")), state(text("b"), DONE)):
        taken = assembler.take(event.frame[6:])
        assert taken is not None
        assert (taken.type, taken.change, taken.payload) == ("message", "updated", event.payload)
        assert type(taken.payload) is WireMessage
    assert assembler.take(b'{"type":"novelty","payload":{"type":"created","payload":{}}}') is None


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        ('{"message_id":"x","session_id":"s","part":0,"offset":0,"text":"a"}', "never began"),
        ('{"message_id":"m","session_id":"s","part":3,"offset":0,"text":"a"}', "never began"),
        ('{"message_id":"m","session_id":"s","part":-1,"offset":0,"text":"a"}', "never began"),
        ('{"message_id":"m","session_id":"s","part":0,"offset":2,"text":"a"}', "character 2"),
        ('{"message_id":"m","session_id":"s","part":0,"offset":-1,"text":"a"}', "character -1"),
        ('{"message_id":"m","session_id":"s","part":1,"offset":0,"text":"a"}', "never began"),
    ],
)
def test_a_delta_that_does_not_fit_is_an_error(event: str, complaint: str) -> None:
    """Rather than a message with a hole; the known state stays as it was."""
    assembler = MessageAssembler()
    assembler.take(state(text("a"), CALL).frame[6:])
    line = f'{{"type":"message_delta","payload":{{"type":"created","payload":{event}}}}}'
    with pytest.raises(msgspec.ValidationError, match=complaint):
        assembler.take(line)
    fits = '{"message_id":"m","session_id":"s","part":0,"offset":1,"text":"b"}'
    taken = assembler.take(
        f'{{"type":"message_delta","payload":{{"type":"created","payload":{fits}}}}}'
    )
    assert taken is not None
    assert taken.payload == state(text("ab"), CALL).payload


def test_a_message_that_continues_what_never_came_is_an_error() -> None:
    """Also where the reader has another kind of part at that place."""
    parts = '[{"type":"text","data":{"text":"b","offset":1}}]'
    line = f'{{"type":"message","payload":{{"type":"updated","payload":{{"id":"m","parts":{parts}}}}}}}'
    with pytest.raises(msgspec.ValidationError, match="the reader has 0"):
        MessageAssembler().take(line)
    assembler = MessageAssembler()
    assembler.take(snapshot(thought("ab")).frame[6:])
    with pytest.raises(msgspec.ValidationError, match="the reader has 0"):
        assembler.take(line)
