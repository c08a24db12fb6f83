"""The event log: what every reader sees, however slow it is."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from trio.testing import wait_all_tasks_blocked

from core_kit import drain
from crush_trio.hub import Hub, Subscription
from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import Finish, FinishPart, Message, Part, Text, TextPart
from crush_trio.settings import Settings
from crush_trio.wire.events import Event, RunComplete, message_event, run_complete_event


def end(name: str) -> Event:
    """Return an event that nothing replaces."""
    return run_complete_event(RunComplete("s", name))


def message(name: str, text: str = "", *, finished: bool = False) -> Message:
    parts: tuple[Part, ...] = (TextPart(Text(text)),)
    if finished:
        parts = (*parts, FinishPart(Finish("end_turn", 1)))
    return Message(MessageID(name), SessionID("s"), "assistant", parts)


def snapshot(name: str, text: str) -> Event:
    """Return a streaming update, which the next update of the same message replaces."""
    return message_event("updated", message(name, text), streaming=True)


def texts(events: list[Event]) -> list[str]:
    """Return events as short texts."""
    return [
        event.payload.run_id
        if isinstance(event.payload, RunComplete)
        else f"{event.payload.id} {event.payload.text}"  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        for event in events
    ]


async def pending(subscription: Subscription) -> list[str]:
    """Return what a reader can read now."""
    if not subscription._initial and subscription._cursor == subscription._hub.last_id:
        return []
    return texts(await subscription.receive())


# --- one reader --------------------------------------------------------------------------------


@pytest.mark.promise("S1")
async def test_a_reader_sees_what_is_published_from_its_subscription_on() -> None:
    """Nothing of before, everything of after, and what it was given to begin with first."""
    hub = Hub()
    hub.publish(end("before"))
    with trio.fail_after(5), hub.subscribe([end("open")]) as reader:
        hub.publish(end("after"))
        assert await pending(reader) == ["open"]
        assert await pending(reader) == ["after"]
        assert await pending(reader) == []


@pytest.mark.promise("S1", "S2", "S4")
async def test_a_newer_snapshot_replaces_an_older_one_and_nothing_else() -> None:
    """A slow reader gets the newest state of each message, at its place, and every other event."""
    hub = Hub()
    with trio.fail_after(5), hub.subscribe() as reader:
        hub.publish(message_event("created", message("a")))
        for number in range(100):
            hub.publish(snapshot("a", f"{number}"))
            hub.publish(snapshot("b", f"{number}"))
        hub.publish(end("x"))
        hub.publish(message_event("updated", message("a", "call")))  # a terminal one
        hub.publish(snapshot("a", "more"))
        hub.publish(message_event("updated", message("a", "done", finished=True)))
        assert await pending(reader) == ["a ", "b 99", "x", "a call", "a done"]


@pytest.mark.promise("S1")
async def test_a_reader_between_two_snapshots_sees_both() -> None:
    """What it has read is read; the newer one comes as its own event."""
    hub = Hub()
    with trio.fail_after(5), hub.subscribe() as reader:
        hub.publish(snapshot("a", "1"))
        assert await pending(reader) == ["a 1"]
        hub.publish(snapshot("a", "2"))
        assert await pending(reader) == ["a 2"]


@pytest.mark.promise("S3")
async def test_publishing_waits_for_nobody() -> None:
    """It is sync; a reader that never reads costs its cursor."""
    hub = Hub()
    with trio.fail_after(5), hub.subscribe() as stalled, hub.subscribe() as reader:
        for number in range(1000):
            hub.publish(snapshot("a", f"{number}"))
        hub.publish(end("x"))
        assert await pending(reader) == ["a 999", "x"]
        assert len([one for one in hub._log if one is not None]) == 2
        assert await pending(stalled) == ["a 999", "x"]


@pytest.mark.promise("S2", "S3")
async def test_one_chunk_is_bounded_and_holds_at_least_one_event() -> None:
    """A reader that comes back takes what waits in pieces; a larger event goes alone."""
    hub = Hub(Settings(chunk_bytes=500))
    with trio.fail_after(5), hub.subscribe() as reader:
        frames = [message_event("created", message(f"m{n}", "x" * 100)).frame for n in range(10)]
        for number in range(10):
            hub.publish(message_event("created", message(f"m{number}", "x" * 100)))
        large = message_event("created", message("large", "y" * 2000))
        hub.publish(large)
        chunks = list[bytes]()
        while sum(map(len, chunks)) < sum(map(len, frames)) + len(large.frame):
            chunks.append(await reader.receive_chunk())
        assert b"".join(chunks) == b"".join(frames) + large.frame
        assert all(len(chunk) <= 500 for chunk in chunks[:-1])
        assert chunks[-1] == large.frame


@pytest.mark.promise("S3")
@pytest.mark.parametrize("bound", ["bytes", "entries"])
async def test_a_reader_that_fell_off_the_log_is_ended_when_it_reads_again(bound: str) -> None:
    """Properly, and only that one; who is in the log's reach reads on."""
    size = len(end("00").frame)
    limits = Settings(log_entries=3) if bound == "entries" else Settings(log_bytes=3 * size)
    hub = Hub(limits)
    with trio.fail_after(5), hub.subscribe() as slow, hub.subscribe() as fast:
        for number in range(10):
            hub.publish(end(f"{number:02}"))
            assert await pending(fast) == [f"{number:02}"]
        with pytest.raises(trio.EndOfChannel):
            await slow.receive_chunk()
        with hub.subscribe() as late:
            hub.publish(end("10"))
            assert await pending(late) == await pending(fast) == ["10"]


async def test_an_event_that_is_larger_than_the_log_is_still_read() -> None:
    """The newest event stays, whatever its size."""
    hub = Hub(Settings(log_bytes=10))
    with trio.fail_after(5), hub.subscribe() as reader:
        hub.publish(end("large"))
        assert await pending(reader) == ["large"]


@pytest.mark.promise("S6")
async def test_a_hub_that_closes_ends_its_readers_behind_the_last_event() -> None:
    """Also one that waits, and one that comes later; what is published then is nobody's."""
    hub = Hub()
    ended: list[list[str]] = []

    async def read(reader: Subscription) -> None:
        ended.append(texts(await drain(reader)))

    with trio.fail_after(5), hub.subscribe() as waiting, hub.subscribe() as behind:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, waiting)
            await wait_all_tasks_blocked()
            hub.publish(end("last"))
            hub.close()
            hub.publish(end("too late"))
        assert ended == [["last"]]
        assert texts(await drain(behind)) == ["last"]
        with hub.subscribe([end("open")]) as late:
            assert texts(await drain(late)) == ["open"]


@pytest.mark.promise("C3")
async def test_an_event_that_cannot_be_encoded_leaves_the_log_as_it_was() -> None:
    """Whoever publishes it gets the error; no reader ever meets it."""
    hub = Hub()
    with trio.fail_after(5), hub.subscribe() as reader:
        hub.publish(snapshot("a", "1"))
        with pytest.raises(UnicodeEncodeError):
            hub.publish(snapshot("a", "\ud800"))
        hub.publish(end("x"))
        assert await pending(reader) == ["a 1", "x"]
        assert hub.last_id == 2


async def test_readers_at_the_same_place_share_their_bytes() -> None:
    """A chunk is joined once, however many readers take it, and anew when there is more."""
    hub = Hub()
    with (
        trio.fail_after(5),
        hub.subscribe() as one,
        hub.subscribe() as two,
        hub.subscribe() as three,
    ):
        hub.publish(end("a"))
        hub.publish(end("b"))
        first = await one.receive_chunk()
        assert await two.receive_chunk() is first
        hub.publish(end("c"))
        assert await three.receive_chunk() == first + end("c").frame


async def test_reading_is_always_a_checkpoint() -> None:
    """A reader that always finds something lets others run, and can be cancelled."""
    hub = Hub()
    with hub.subscribe([end("open")]) as reader:
        hub.publish(end("a"))
        with trio.CancelScope() as scope:
            scope.cancel("test")
            await reader.receive_chunk()
        assert scope.cancelled_caught
        with trio.fail_after(5):
            assert await pending(reader) == ["open"]


# --- readers of any speed ------------------------------------------------------------------------


class HubMachine(RuleBasedStateMachine):
    """Publishes, reads and resubscribes in any order, and keeps the whole truth beside the log.

    ``everything`` holds each event with the number of the one that replaced it, or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(Settings(chunk_bytes=300))
        self.everything: list[Event] = []
        self.replaced: dict[int, int] = {}
        self.streaming: dict[str, int] = {}
        self.readers: list[tuple[Subscription, int, list[Event]]] = []
        self.count = 0

    def _publish(self, event: Event) -> None:
        number = len(self.everything)
        if event.message_id is not None:
            older = self.streaming.pop(event.message_id, None)
            if older is not None:
                self.replaced[older] = number
            if event.streaming:
                self.streaming[event.message_id] = number
        self.everything.append(event)
        self.hub.publish(event)

    @rule(name=st.sampled_from("abc"), streaming=st.booleans())
    def update(self, name: str, streaming: bool) -> None:
        self.count += 1
        new = message(name, f"{self.count}")
        self._publish(message_event("updated", new, streaming=streaming))

    @rule(created=st.booleans())
    def other(self, created: bool) -> None:
        self.count += 1
        name = f"e{self.count}"
        self._publish(message_event("created", message(name)) if created else end(name))

    @precondition(lambda self: len(self.readers) < 4)
    @rule()
    def subscribe(self) -> None:
        context = self.hub.subscribe()
        self.readers.append((context.__enter__(), len(self.everything), []))

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(0, 3), chunked=st.booleans())
    def read(self, which: int, chunked: bool) -> None:
        """Take what there is, all of it or one chunk, without waiting."""
        reader, _, seen = self.readers[which % len(self.readers)]
        if reader._cursor == self.hub.last_id:
            return
        limit = self.hub._settings.chunk_bytes if chunked else 2**62
        found, reader._cursor = self.hub._events_from(reader._cursor, limit)
        assert found
        if chunked and len(found) > 1:
            assert sum(len(event.frame) for event in found) <= limit
        seen.extend(found)

    @invariant()
    def every_reader_has_seen_a_true_story(self) -> None:
        """In order, without doubles, and what is missing was replaced by what comes later."""
        for reader, since, seen in self.readers:
            read_up_to = reader._cursor
            numbers = [self.everything.index(event) for event in seen]
            assert numbers == sorted(set(numbers))
            for number in range(since, read_up_to):
                if number in numbers:
                    continue
                assert number in self.replaced, "an event that nothing replaced is missing"
                newer = self.replaced[number]
                assert newer in numbers or newer >= read_up_to or newer in self.replaced

    @invariant()
    def the_log_counts_its_bytes(self) -> None:
        """The bound in bytes is of what is really there."""
        assert self.hub._bytes == sum(len(e.frame) for e in self.hub._log if e is not None)

    def teardown(self) -> None:
        """Every reader that goes on to the end holds the newest state of each message."""
        newest = {e.message_id: e for e in self.everything if e.message_id is not None}
        for reader, since, seen in self.readers:
            while reader._cursor < self.hub.last_id:
                found, reader._cursor = self.hub._events_from(reader._cursor, 300)
                seen.extend(found)
            for name, event in newest.items():
                if self.everything.index(event) >= since:
                    assert [e for e in seen if e.message_id == name][-1] is event


@pytest.mark.promise("S1", "S2", "S4")
def test_readers_of_any_speed_see_every_event_that_nothing_replaced_in_order() -> None:
    """And the newest snapshot of each message, whatever was published and read in which order."""
    run_state_machine_as_test(HubMachine, settings=settings(deadline=None))


async def read_slowly(reader: Subscription, pause: int, seen: list[bytes]) -> None:
    """Read to the end, and let others run so many times after each chunk."""
    with suppress(trio.EndOfChannel):
        while True:
            seen.append(await reader.receive_chunk())
            for _ in range(pause):
                await trio.lowlevel.checkpoint()


@pytest.mark.promise("S1", "S2", "S3", "S4")
@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a1", "b1", "a0", "end"]), max_size=30),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
)
async def test_readers_in_tasks_of_their_own_see_the_same(
    published: list[str], pauses: list[int]
) -> None:
    """The same with tasks that wait, read and dawdle: what each has seen in the end is one story."""
    hub = Hub()
    seen: list[list[bytes]] = [[] for _ in pauses]
    events = [
        end(f"{count}")
        if kind == "end"
        else message_event("updated", message(kind[0], f"{count}"), streaming=kind[1] == "1")
        for count, kind in enumerate(published)
    ]
    with trio.fail_after(5), ExitStack() as readers:
        async with trio.open_nursery() as nursery:
            for chunks, pause in zip(seen, pauses, strict=True):
                reader = readers.enter_context(hub.subscribe())
                nursery.start_soon(read_slowly, reader, pause, chunks)
            for count, event in enumerate(events):
                hub.publish(event)
                if count % 3 == 0:
                    await trio.lowlevel.checkpoint()
            hub.close()
    newest = {event.message_id: event for event in events if event.message_id is not None}
    must_come = [event.frame for event in events if not event.streaming]
    for chunks in seen:
        frames = [part + b"\n\n" for part in b"".join(chunks).split(b"\n\n")[:-1]]
        assert [frame for frame in frames if frame in must_come] == must_come
        assert len(set(frames)) == len(frames)
        for name, event in newest.items():
            updates = [frame for frame in frames if f'"id":"{name}"'.encode() in frame]
            assert updates[-1] == event.frame


def test_a_hub_says_what_it_is() -> None:
    """Numbers, never contents."""
    hub = Hub()
    hub.publish(end("secret"))
    assert repr(hub) == f"<Hub 1..1 {len(end('secret').frame)} bytes 0 readers>"
    assert msgspec.json.decode(end("x").frame[6:])["type"] == "run_complete"
