"""Streams with ids, and with deltas, over the real log: nothing is missed, at any speed (S5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.hub import Hub, Subscription, Wish, first_id
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
from crush_trio.settings import Settings
from crush_trio.wire.deltas import MessageAssembler
from crush_trio.wire.events import (
    Event,
    RunComplete,
    message_event,
    run_complete_event,
)
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sse import SSEReader
from crush_trio.wire.streams import Hello, TooOld

IDS = Wish()
DELTAS = Wish(deltas=True)


def end(name: str) -> Event:
    """Return an event that nothing replaces."""
    return run_complete_event(RunComplete("s", name))


def snapshot(name: str, text: str) -> Event:
    """Return a streaming update, which the next update of the same message replaces."""
    message = Message(MessageID(name), SessionID("s"), "assistant", (TextPart(Text(text)),))
    return message_event("updated", message, streaming=True)


def hello(hub: Hub) -> Event:
    return Event("hello", "created", Hello(hub.last_id))


def frame(number: int, event: Event) -> bytes:
    """Return an event's bytes with its id."""
    return b"id: %d\n%s" % (number, event.frame)


async def ended(reader: Subscription) -> bool:
    """Whether nothing more will ever come."""
    try:
        await reader.receive_chunk()
    except trio.EndOfChannel:
        return True
    return False


# --- one reader --------------------------------------------------------------------------------


@pytest.mark.promise("S5", "S1")
async def test_a_stream_with_ids_begins_with_the_id_that_it_stands_behind() -> None:
    """The next event has the next id, unless it is a streaming update that was replaced."""
    hub = Hub(first=100)
    hub.publish(end("before"))
    with trio.fail_after(5), hub.subscribe([greeting := hello(hub)], IDS) as reader:
        hub.publish(end("a"))
        hub.publish(snapshot("m", "1"))
        hub.publish(snapshot("m", "2"))
        assert await reader.receive_chunk() == frame(100, greeting)
        assert await reader.receive_chunk() == frame(101, end("a")) + frame(103, snapshot("m", "2"))


@pytest.mark.promise("S5")
async def test_a_stream_goes_on_behind_the_id_that_it_names() -> None:
    """What was missed comes behind the first event, which has no id: a reader that is cut off in
    between has not come further."""
    hub = Hub(first=100)
    for name in "abc":
        hub.publish(end(name))
    with trio.fail_after(5), hub.subscribe([hello(hub)], Wish(after=100)) as reader:
        hub.publish(end("d"))
        assert await reader.receive_chunk() == hello_at(102).frame
        assert await reader.receive_chunk() == b"".join(
            frame(number, end(name)) for number, name in [(101, "b"), (102, "c"), (103, "d")]
        )


def hello_at(last_id: int) -> Event:
    return Event("hello", "created", Hello(last_id))


@pytest.mark.promise("S5")
async def test_every_id_that_was_sent_is_one_to_go_on_behind() -> None:
    """And gives exactly what comes behind it."""
    hub = Hub(first=10)
    for number in range(5):
        hub.publish(end(f"{number}"))
        hub.publish(snapshot("m", f"{number}"))
    with trio.fail_after(5), hub.subscribe([], Wish(after=9)) as reader:
        everything = await reader.receive_chunk()
    for number in map(int, re.findall(rb"^id: (\d+)$", everything, re.MULTILINE)):
        with trio.fail_after(5), hub.subscribe([hello(hub)], Wish(after=number)) as reader:
            assert await reader.receive_chunk() == hello(hub).frame
            rest = everything.partition(b"id: %d\n" % number)[2].partition(b"\n\n")[2]
            if rest:
                assert await reader.receive_chunk() == rest


@pytest.mark.promise("S5")
@pytest.mark.parametrize("after", [0, 6, 11, 2**62])
async def test_a_gap_that_the_log_cannot_fill_is_told_at_once(after: int) -> None:
    """Ids from before the log, from an earlier life and from nowhere. Live events follow."""
    hub = Hub(Settings(log_entries=3), first=5)
    for number in range(6):
        hub.publish(end(f"{number}"))
    with trio.fail_after(5), hub.subscribe([hello(hub)], Wish(after=after)) as reader:
        hub.publish(end("live"))
        told = Event("too_old", "created", TooOld(8, 10))
        assert await reader.receive_chunk() == hello_at(10).frame + frame(10, told)
        assert await reader.receive_chunk() == frame(11, end("live"))


@pytest.mark.promise("S5")
@pytest.mark.parametrize("after", [7, 8, 10])
async def test_a_gap_that_the_log_can_just_fill_is_filled(after: int) -> None:
    """From the event before the oldest one on; also where nothing was missed."""
    hub = Hub(Settings(log_entries=3), first=5)
    for number in range(6):
        hub.publish(end(f"{number}"))
    missed = [frame(number, end(f"{number - 5}")) for number in range(after + 1, 11)]
    with trio.fail_after(5), hub.subscribe([hello(hub)], Wish(after=after)) as reader:
        assert await reader.receive_chunk() == hello_at(10).frame
        if missed:
            assert await reader.receive_chunk() == b"".join(missed)
        hub.publish(end("live"))
        assert await reader.receive_chunk() == frame(11, end("live"))


@pytest.mark.promise("S3", "S5")
async def test_a_reader_that_fell_off_the_log_is_told_so_and_then_ended() -> None:
    """With the id to go on behind once it has read the state again."""
    hub = Hub(Settings(log_entries=3))
    with trio.fail_after(5), hub.subscribe([hello(hub)], DELTAS) as reader:
        await reader.receive_chunk()
        for number in range(5):
            hub.publish(end(f"{number}"))
        told = Event("too_old", "created", TooOld(3, 5))
        assert await reader.receive_chunk() == frame(5, told)
        hub.publish(end("later"))
        assert await ended(reader)
        assert await ended(reader)
        with hub.subscribe([], Wish(after=5)) as again:
            assert await again.receive_chunk() == frame(6, end("later"))


@pytest.mark.promise("S6")
async def test_a_hub_that_closes_ends_streams_with_ids_behind_their_last_event() -> None:
    """Also one that has just come."""
    hub = Hub()
    with trio.fail_after(5), hub.subscribe([], IDS) as reader:
        hub.publish(end("last"))
        hub.close()
        assert await reader.receive_chunk() == frame(1, end("last"))
        assert await ended(reader)
        with hub.subscribe([hello(hub)], IDS) as late:
            assert await late.receive_chunk() == frame(1, hello(hub))
            assert await ended(late)


@pytest.mark.promise("S5")
async def test_an_event_that_is_not_replayed_leaves_its_id() -> None:
    """An id that is absent always means that a newer update follows. What is live always comes."""
    hub = Hub()
    for name in "abc":
        hub.publish(end(name))

    def replays(event: Event) -> bool:
        return event.payload != end("b").payload

    with trio.fail_after(5), hub.subscribe([], Wish(after=0), replays) as reader:
        hub.publish(end("b"))
        assert await reader.receive_chunk() == (
            frame(1, end("a")) + b"id: 2\n\n" + frame(3, end("c")) + frame(4, end("b"))
        )


@pytest.mark.promise("S3")
@pytest.mark.parametrize("wish", [IDS, DELTAS])
async def test_a_chunk_with_ids_is_bounded_and_holds_at_least_one_event(wish: Wish) -> None:
    """The ids count; a larger event goes alone."""
    hub = Hub(Settings(chunk_bytes=500))
    with trio.fail_after(5), hub.subscribe([], wish) as reader:
        for number in range(20):
            hub.publish(end(f"{number}"))
        hub.publish(snapshot("large", "x" * 1000))
        chunks = [await reader.receive_chunk()]
        while b"large" not in chunks[-1]:
            chunks.append(await reader.receive_chunk())
        assert all(200 < len(chunk) <= 500 for chunk in chunks[:-1])
        assert chunks[-1] == frame(21, snapshot("large", "x" * 1000))
        assert b"".join(chunks).count(b"data:") == 21


@pytest.mark.promise("S5")
async def test_only_the_last_frame_of_an_event_has_its_id() -> None:
    """A reader that is cut off between the two gets both again, as a whole message."""
    hub = Hub()
    both = [
        Message(
            MessageID("m"),
            SessionID("s"),
            "assistant",
            (ReasoningPart(Reasoning("x" * n, started_at=1)), TextPart(Text("y" * n))),
        )
        for n in (1, 2)
    ]
    with trio.fail_after(5), hub.subscribe([], DELTAS) as reader:
        hub.publish(message_event("updated", both[0], streaming=True))
        await reader.receive_chunk()
        hub.publish(message_event("updated", both[1], streaming=True))
        first, second, rest = (await reader.receive_chunk()).split(b"\n\n")
        assert first.startswith(b"data:")
        assert second.startswith(b"id: 2\ndata:")
        assert rest == b""
        with hub.subscribe([], Wish(after=1, deltas=True)) as again:
            whole = message_event("updated", both[1], streaming=True)
            assert await again.receive_chunk() == frame(2, whole)


@pytest.mark.promise("S3")
async def test_a_slow_reader_of_deltas_gets_one_larger_delta() -> None:
    """At each look what is new since the last one."""
    hub = Hub()
    with trio.fail_after(5), hub.subscribe([], DELTAS) as slow, hub.subscribe([], DELTAS) as fast:
        sizes: dict[str, list[int]] = {"slow": [], "fast": []}
        for number in range(1, 101):
            hub.publish(snapshot("m", "x" * 100 * number))
            sizes["fast"].append(len(await fast.receive_chunk()))
            if number % 50 == 0:
                sizes["slow"].append(len(await slow.receive_chunk()))
        assert max(sizes["fast"]) < 400
        assert [5000 < size < 5400 for size in sizes["slow"]] == [True, True]


# --- ids over lives -----------------------------------------------------------------------------


@pytest.mark.promise("S5")
async def test_ids_go_on_increasing_over_a_restart() -> None:
    """An id of an earlier life is too old, and not taken for one of this life."""
    now = 1_700_000_000.0
    before = Hub(first=first_id(now))
    for number in range(5000):
        before.publish(end(f"{number}"))
    after = Hub(first=first_id(now + 0.1))
    assert before.last_id < after.last_id < 2**53
    after.publish(end("new"))
    with trio.fail_after(5):
        for stale in (before.last_id, first_id(now)):
            with after.subscribe([hello(after)], Wish(after=stale)) as reader:
                assert b'"too_old"' in await reader.receive_chunk()


def test_the_first_id_is_a_positive_number_whatever_the_clock_says() -> None:
    """A machine without a clock begins at its epoch."""
    assert first_id(0) == first_id(-5) == 1
    assert first_id(1_700_000_000) == 1_700_000_000_000_000
    assert first_id(9_000_000_000) < 2**53


# --- readers of any speed ------------------------------------------------------------------------


@attrs.define(eq=False)
class Author:
    """Writes one message, as a turn does: text, reasoning, calls, retries, and an end."""

    name: str
    session: str
    parts: list[Part] = attrs.field(factory=list[Part])

    def write(self, kind: str, text: str) -> Event | None:
        """Take one step; return the event that tells of it, or None if it makes no sense now."""
        finished = any(isinstance(part, FinishPart) for part in self.parts)
        if kind == "finish":
            self.parts = [part for part in self.parts if not isinstance(part, FinishPart)]
            self.parts.append(FinishPart(Finish("end_turn", len(text))))
            return self._event(streaming=False)
        if finished:
            return None
        steps: dict[str, Callable[[str], bool]] = {
            "text": self._say,
            "think": self._think,
            "close": self._close,
            "call": self._call,
            "retry": self._retry,
        }
        streaming = kind in {"text", "think", "retry"}
        return self._event(streaming=streaming) if steps[kind](text) else None

    def _event(self, *, streaming: bool) -> Event:
        message = Message(
            MessageID(self.name), SessionID(self.session), "assistant", tuple(self.parts)
        )
        return message_event("updated", message, streaming=streaming)

    def _say(self, text: str) -> bool:
        for index, part in enumerate(self.parts):
            if isinstance(part, TextPart):
                self.parts[index] = TextPart(Text(part.data.text + text))
                return True
        self.parts.append(TextPart(Text(text)))
        return True

    def _think(self, text: str) -> bool:
        for index, part in enumerate(self.parts):
            if isinstance(part, ReasoningPart):
                thinking = part.data.thinking + text
                self.parts[index] = ReasoningPart(
                    msgspec.structs.replace(part.data, thinking=thinking)
                )
                return True
        self.parts.append(ReasoningPart(Reasoning(text, started_at=1)))
        return True

    def _close(self, text: str) -> bool:
        for index, part in enumerate(self.parts):
            if isinstance(part, ReasoningPart):
                data = msgspec.structs.replace(part.data, signature=text, finished_at=2)
                self.parts[index] = ReasoningPart(data)
                return True
        return False

    def _call(self, text: str) -> bool:
        self.parts.append(ToolCallPart(ToolCall(f"c{len(self.parts)}", "ls", text, finished=True)))
        return True

    def _retry(self, _: str) -> bool:
        self.parts.clear()
        return True


@attrs.define(eq=False)
class Truth:
    """What was published, beside the log: each event with its id, and by which it was replaced."""

    hub: Hub
    published: dict[int, Event] = attrs.field(factory=dict[int, Event])
    replaced: dict[int, int] = attrs.field(factory=dict[int, int])
    streaming: dict[str, int] = attrs.field(factory=dict[str, int])

    def publish(self, event: Event) -> None:
        self.hub.publish(event)
        number = self.hub.last_id
        self.published[number] = event
        if event.message_id is not None:
            if (older := self.streaming.pop(event.message_id, None)) is not None:
                self.replaced[older] = number
            if event.streaming:
                self.streaming[event.message_id] = number


@attrs.define(eq=False)
class Person:
    """Somebody who reads with ids at their own pace, loses connections, and checks each event."""

    truth: Truth
    deltas: bool
    since: int
    place: int
    got: set[int] = attrs.field(factory=set[int])
    holds: dict[str, WireMessage] = attrs.field(factory=dict[str, WireMessage])
    pauses: int = 0

    def connect(self) -> None:
        """Open a stream that goes on where the last one ended."""
        hub = self.truth.hub
        self.assembler, self.reader = MessageAssembler(), SSEReader()
        wish = Wish(after=self.place, deltas=self.deltas)
        self.context = hub.subscribe([hello(hub)], wish)
        self.subscription = self.context.__enter__()

    def disconnect(self) -> None:
        self.context.__exit__(None, None, None)

    assembler: MessageAssembler = attrs.field(init=False)
    reader: SSEReader = attrs.field(init=False)
    context: Any = attrs.field(init=False)
    subscription: Subscription = attrs.field(init=False)

    @property
    def behind(self) -> bool:
        """Whether there is something to read."""
        reading = self.subscription
        return bool(reading._initial) or reading._cursor < self.truth.hub.last_id

    async def read(self) -> None:
        """Read one chunk."""
        try:
            chunk = await self.subscription.receive_chunk()
        except trio.EndOfChannel:  # fell off the log, and has been told so
            self.disconnect()
            self.connect()
            return
        assert len(chunk) <= self.truth.hub.chunk_bytes or chunk.count(b"id: ") <= 1
        for number, line in self.reader.feed_numbered(chunk):
            event = self.assembler.take(line)
            assert event is not None
            self._check(number, event)

    def _check(self, number: int | None, event: Event) -> None:
        if isinstance(event.payload, TooOld):
            assert number is not None
            assert number == event.payload.last_id
            self.since = self.place = number  # what was missed is the state's to tell
            self.got.clear()
            self.holds.clear()
            return
        if isinstance(event.payload, WireMessage):
            self.holds[event.payload.id] = event.payload
        if number is None:
            return
        assert number > self.place, "ids increase"
        told = self.truth.published[number]
        assert (event.type, event.change, event.payload) == (told.type, told.change, told.payload)
        self.place = number
        self.got.add(number)

    def check_caught_up(self) -> None:
        """Nothing but what was replaced is missing, and every message is the newest."""
        truth = self.truth
        for number, event in truth.published.items():
            if number <= self.since:
                continue
            if number not in self.got:
                assert event.streaming
                newer = truth.replaced[number]
                while newer not in self.got:
                    newer = truth.replaced[newer]
            if isinstance(event.payload, WireMessage):
                newest = [
                    each.payload
                    for each in truth.published.values()
                    if isinstance(each.payload, WireMessage) and each.payload.id == event.payload.id
                ][-1]
                assert self.holds[event.payload.id] == newest


WORDS = st.sampled_from(["a", "aa", "é", "😀\n", "long " * 20, ""])
WRITING = [*["text"] * 8, *["think"] * 4, "retry", "retry", "close", "call", "finish"]
READING = ["drain", "drain", "read"]
STEPS = st.tuples(
    st.sampled_from([*WRITING, *READING * 4, "cut", "over", "created"]),
    st.integers(0, 3),
    WORDS,
)
SMALL = Settings(chunk_bytes=400, log_bytes=1500)
"""A log that readers fall off."""


@pytest.mark.promise("S1", "S2", "S3", "S4", "S5")
@given(
    st.lists(STEPS, min_size=50, max_size=100), st.sampled_from([SMALL, Settings(chunk_bytes=400)])
)
async def test_readers_of_any_speed_rebuild_every_state_that_they_are_told(
    steps: list[tuple[str, int, str]], limits: Settings
) -> None:
    """Whatever is written, retried and ended, and whenever they look or lose their connection: each
    event is whole when its id comes, ids increase, and only what was replaced is absent."""
    hub = Hub(limits, first=1000)
    truth = Truth(hub)
    authors = [Author("m0", "s0"), Author("m1", "s1")]
    people = [Person(truth, deltas, 999, 999) for deltas in (True, True, True, False)]
    with trio.fail_after(5):
        for person in people:
            person.connect()
        for kind, which, text in steps:
            await _step(kind, which, text, truth, authors, people)
        for person in people:
            while person.behind:
                await person.read()
            person.check_caught_up()
            person.disconnect()


async def _step(
    kind: str, which: int, text: str, truth: Truth, authors: list[Author], people: list[Person]
) -> None:
    match kind:
        case "read" if people[which].behind:
            await people[which].read()
        case "drain":
            while people[which].behind:
                await people[which].read()
        case "cut":
            people[which].disconnect()
            people[which].connect()
        case "over":
            truth.publish(run_complete_event(RunComplete(f"s{which % 2}", text, text)))
        case "created":
            index = which % 2
            authors[index] = Author(f"m{len(truth.published)} {index}", f"s{index}")
            payload = authors[index]._event(streaming=False).payload
            truth.publish(Event("message", "created", payload))
        case "read":
            pass
        case _:
            if (event := authors[which // 2].write(kind, text)) is not None:
                truth.publish(event)
