"""Streams with ids and deltas through the whole application: what they begin with, what they send,
and how a reader comes back to where it was (S5, D2). What is sent is in docs/wire.md."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.client.workspace import WorkspaceClient
from crush_trio.errors import ProviderError
from crush_trio.hub import Wish
from crush_trio.ids import ClientID, RunID, SessionID, new_id
from crush_trio.messages import Prompt
from crush_trio.providers.scripted import (
    Answer,
    Call,
    Fail,
    Hang,
    Pause,
    Say,
    ScriptedModel,
    WaitFor,
)
from crush_trio.settings import Settings
from crush_trio.wire.deltas import MessageAssembler
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sse import SSEReader
from crush_trio.wire.streams import Hello, OpenRun, TooOld
from history_kit import Heard, check_stream
from limits_kit import PROCESS_LIMIT, REAL_LIMIT
from people_kit import Desk, decoded, desk, events_path, is_answer, listening, noticed
from process_kit import open_server_process
from world_kit import SETTINGS, World, open_served_world, open_world

LIMIT = 3600
"""Virtual seconds; a test that hangs gets there at once."""

CHATTY: Answer = [Say("word " * 40, pause=0.05), Call("ls")]
"""A step with streaming text, a tool call and its result."""


def taken(body: bytes) -> list[tuple[int | None, Heard | None]]:
    """Return the events of a body with their ids; None for an id alone."""
    reader, assembler = SSEReader(), MessageAssembler()
    found: list[tuple[int | None, Heard | None]] = []
    for number, line in reader.feed_numbered(body):
        event = assembler.take(line) if line else None
        found.append((number, event and Heard(event.type, event.change, event.payload)))
    return found


def events_of(body: bytes) -> list[Heard]:
    """Return the events of a body."""
    return [event for _, event in taken(body) if event is not None]


def answers_of(body: bytes) -> list[WireMessage]:
    """Return the states of assistants' messages that a body tells of."""
    return [event.payload for event in events_of(body) if is_answer(event)]


def ids_of(body: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^id: (\d+)$", body, re.MULTILINE)]


@attrs.define(eq=False)
class Tape:
    """The raw bytes of a stream that somebody reads."""

    body: bytes = b""
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def record(self, stream: trio.abc.ReceiveStream) -> None:
        async for data in stream:
            self.body += data
            self._changed.set()
            self._changed = trio.Event()

    async def wait(self, data: bytes) -> bytes:
        """Wait until something has come; return all there is."""
        while data not in self.body:
            await self._changed.wait()
        return self.body


@asynccontextmanager
async def recording(
    world: World, workspace: WorkspaceClient, query: str = "", headers: dict[str, str] | None = None
) -> AsyncGenerator[Tape]:
    """Record the raw events of a workspace from the 200 on."""
    async with world.call("GET", events_path(workspace) + query, None, headers) as call:
        head, _, first = (await call.head()).partition(b"\r\n\r\n")
        assert b" 200" in head
        tape = Tape(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tape.record, call.stream)
            yield tape
            nursery.cancel_scope.cancel("recorded enough")


async def everything(world: World, workspace: WorkspaceClient, query: str) -> bytes:
    """Return all that a stream brings up to now."""
    async with recording(world, workspace, query) as tape:
        await noticed()
        return tape.body


# --- what a stream sends --------------------------------------------------------------------


@pytest.mark.promise("S5")
async def test_who_asks_for_nothing_gets_the_bytes_of_crush(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One ``data:`` line and an empty one for each event, whole messages, none of our types, while
    others have ids and deltas. Whose ids are left out, it is the same stream."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, ScriptedModel(CHATTY, "Done.")) as world:
            async with (
                desk(world) as place,
                recording(world, place.workspace) as plain,
                recording(world, place.workspace, "&ids=0&deltas=0") as zeros,
                recording(world, place.workspace, "&ids=1") as numbered,
                recording(world, place.workspace, "&deltas=1") as deltas,
            ):
                await place.session.prompt("hello")
                for tape in (plain, zeros, numbered, deltas):
                    await tape.wait(b'"run_complete"')
                await noticed()
                assert re.fullmatch(rb"(data: \{[^\n]*\}\n\n)+", plain.body)
                for type_ in (b'"type":"hello"', b"too_old", b"message_delta", b'"offset"'):
                    assert type_ not in plain.body
                assert zeros.body == plain.body
                without_hello = numbered.body.partition(b"\n\n")[2]
                assert re.sub(rb"id: \d+\n", b"", without_hello) == plain.body
                assert deltas.body.count(b"message_delta") > 20
                check_stream(decoded(plain.body))


@pytest.mark.promise("S5")
async def test_ids_increase_and_what_is_absent_was_replaced(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A slow reader misses ids, and each time the next state of a message stands behind it."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, ScriptedModel(CHATTY, CHATTY, "Done.")) as world:
            async with desk(world) as place:
                full = place.ear
                path = events_path(place.workspace) + "&ids=1"
                slow = world.call("GET", path, connect=world.connect_lockstep)
                async with recording(world, place.workspace, "&ids=1") as fast, slow as call:
                    body = (await call.head()).partition(b"\r\n\r\n")[2]
                    await place.session.submit("hello", run_id="r")
                    while b'"run_complete"' not in body:
                        await trio.sleep(0.5)
                        body += await call.stream.receive_some(2000)
                    await full.wait_complete("r")
                    numbers, known = ids_of(body), ids_of(fast.body)
                    assert numbers == sorted(set(numbers))
                    assert len(numbers) < len(known) * 0.8
                    told = dict(taken(fast.body))
                    for absent in set(range(numbers[0], numbers[-1])) - set(numbers):
                        event = told.get(absent)
                        if event is None:  # not even the fast reader needed it
                            continue
                        assert (event.type, event.change) == ("message", "updated")
                        behind = body.partition(
                            b"id: %d\n" % next(n for n in numbers if n > absent)
                        )
                        assert event.payload.id in [
                            later.payload.id
                            for later in events_of(behind[2])
                            if later.type == "message"
                        ]


@pytest.mark.promise("S5", "S1")
async def test_deltas_carry_each_character_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """However long the answer is: the text comes in deltas, and tool calls and finish leave it out."""
    words = "".join(f"word{number} " for number in range(2000))
    model = ScriptedModel([Say(words, pause=0.01), Call("ls")], "Done.")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            async with (
                recording(world, place.workspace, "&deltas=1") as tape,
                recording(world, place.workspace, "&ids=1") as whole,
            ):
                await place.session.prompt("hello")
                await tape.wait(b'"run_complete"')
                await whole.wait(b'"run_complete"')
                told = re.findall(rb'"(?:text|thinking)":"([^"]*)"', tape.body)
                assert sum(map(len, told)) < len(words) + 100
                assert len(whole.body) > 100 * len(words)
                answers = [e.payload for e in events_of(tape.body) if e.type == "message"]
                assert words in [message.text for message in answers]
                stored = {message.id: message for message in await place.session.messages()}
                newest = {message.id: message for message in answers}
                assert newest.keys() == stored.keys()
                for identity, message in newest.items():
                    assert message.parts == stored[identity].parts


@pytest.mark.promise("S5", "S4")
async def test_a_retry_is_withdrawn_on_delta_streams_too(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What the first attempt said is gone, and the second one's text stands alone."""
    busy = ProviderError("overloaded", title="Overloaded", http_status=529, retryable=True)
    model = ScriptedModel([Say("First attempt"), Pause(1), Fail(busy)], "Second one")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            async with recording(world, place.workspace, "&deltas=1") as tape:
                result = await place.session.prompt("hello")
                await tape.wait(b'"run_complete"')
                texts = [message.text for message in answers_of(tape.body)]
                assert result.text == texts[-1] == "Second one"
                again = texts.index("", texts.index("First attempt"))
                assert all("First" not in text for text in texts[again:])


@pytest.mark.promise("S3")
async def test_a_quiet_stream_is_sent_a_newline_now_and_then(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whatever it asked for; the seconds count from what was sent last."""
    settings = attrs.evolve(SETTINGS, heartbeat=30)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, settings=settings) as world, world.visit() as workspace:
            async with (
                recording(world, workspace) as plain,
                recording(world, workspace, "&ids=1") as numbered,
                recording(world, workspace, "&deltas=1") as deltas,
            ):
                await noticed()
                greeting = [tape.body for tape in (plain, numbered, deltas)]
                await trio.sleep(65)
                for tape, first in zip((plain, numbered, deltas), greeting, strict=True):
                    assert tape.body == first + b"\n\n"
                await workspace.create_session("New")  # at 65 s
                await trio.sleep(29)
                for tape in (plain, numbered, deltas):
                    assert tape.body.endswith(b"}}}\n\n")
                await trio.sleep(2)
                for tape in (plain, numbered, deltas):
                    assert tape.body.endswith(b"}}}\n\n\n")
                    assert not tape.body.endswith(b"\n\n\n\n")


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("query", "headers", "complaint"),
    [
        ("&after=x", {}, "after is not the id of an event: 'x'"),
        ("&after=", {}, "after is not the id of an event: ''"),
        ("&after=-1", {}, "after is not the id of an event: '-1'"),
        ("&after=1.5", {}, "after is not the id of an event: '1.5'"),
        ("&after=" + "9" * 20, {}, f"after is not the id of an event: '{'9' * 20}'"),
        ("&after=%D9%A1", {}, "after is not the id of an event: '\u0661'"),
        ("", {"Last-Event-ID": "x"}, "Last-Event-ID is not the id of an event: 'x'"),
        ("&ids=yes", {}, "ids is neither 0 nor 1: 'yes'"),
        ("&deltas=", {}, "deltas is neither 0 nor 1: ''"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    autojump_clock: MockClock, tmp_path: Path, query: str, headers: dict[str, str], complaint: str
) -> None:
    """And attaches nobody."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path) as world, world.visit() as workspace:
            path = events_path(workspace) + query
            reply = await world.request("GET", path, headers=headers)
            assert (reply.status, reply.json) == (400, {"message": complaint})
            assert "0 readers" in repr(world.host.get(workspace.id).hub)


# --- what a stream begins with -----------------------------------------------------------------


async def hello_of(world: World, workspace: WorkspaceClient, query: str = "&ids=1") -> Hello:
    """Return what a new stream is told first."""
    first, *_ = events_of(await everything(world, workspace, query))
    assert isinstance(first.payload, Hello)
    return first.payload


def write(name: str, call_id: str) -> Call:
    """Return a call that writes a file, which asks first."""
    return Call("write", {"file_path": name, "content": "x"}, id=call_id)


@pytest.mark.promise("S5", "D2")
async def test_a_stream_with_ids_begins_with_how_things_stand(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The runs of all sessions in order, and the open request, which comes nowhere else."""
    model = ScriptedModel([write("f", "c1")], "done", "two", "three")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world, plain=True) as place:
            idle = await hello_of(world, place.workspace)
            assert (idle.runs, idle.permissions, idle.questions) == ((), (), ())
            for number in range(3):
                await place.session.submit(f"{number}", run_id=f"r{number}")
            (request,) = (await place.ear.wait(lambda e: e.type == "permission_request"),)
            for query in ("&ids=1", "&deltas=1"):
                body = await everything(world, place.workspace, query)
                ((number, event),) = taken(body)
                assert event is not None
                hello = event.payload
                assert isinstance(hello, Hello)
                assert number == hello.last_id == world.host.get(place.workspace.id).hub.last_id
                assert hello.permissions == (request.payload,)
                assert hello.runs == (
                    OpenRun("r0", place.session.id, "active"),
                    OpenRun("r1", place.session.id, "queued"),
                    OpenRun("r2", place.session.id, "queued"),
                )
            await place.workspace.grant(request.payload, "allow")
            await place.ear.wait_complete(number=3)
            assert (await hello_of(world, place.workspace)).runs == ()


@pytest.mark.promise("S5", "D2", "S1")
@pytest.mark.parametrize("wish", [Wish(), Wish(deltas=True)])
async def test_what_happens_between_attaching_and_reading_is_an_event(
    autojump_clock: MockClock, tmp_path: Path, wish: Wish
) -> None:
    """A run that is accepted and a permission that is asked then are not in the hello, which is of
    the moment of attaching; nor are they missed. Each run that it names will be heard of once."""
    model = ScriptedModel([WaitFor(go := trio.Event()), write("f", "c1")], "done", "late")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            hosted = world.host.get(place.workspace.id)
            await place.session.submit("early", run_id="early")
            await model.wait_request(1)
            with hosted.attach(ClientID(new_id()), wish) as reader:
                hosted.submit(SessionID(place.session.id), Prompt("late"), RunID("late"))
                go.set()
                await place.ear.wait(lambda event: event.type == "permission_request")
                body = await reader.receive_chunk()
                (first,) = events_of(body)
                assert isinstance(first.payload, Hello)
                assert [run.run_id for run in first.payload.runs] == ["early"]
                assert first.payload.permissions == ()
                while b'"permission_request"' not in body:
                    body += await reader.receive_chunk()
                assert (await hello_of(world, place.workspace)).permissions
                (request,) = place.ear.of("permission_request")
                await place.workspace.grant(request, "deny")
                while body.count(b'"run_complete"') < 2:
                    body += await reader.receive_chunk()
                ends = [e.payload.run_id for e in events_of(body) if e.type == "run_complete"]
                assert ends == ["early", "late"]


# --- coming back ----------------------------------------------------------------------------------


@pytest.mark.promise("S5")
async def test_every_id_leads_back_to_what_comes_behind_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By parameter and by header, of which the header counts; with the last id nothing is missed."""
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, ScriptedModel(CHATTY, "Done.")) as world:
            async with desk(world) as place, recording(world, place.workspace, "&ids=1") as tape:
                await place.session.prompt("hello")
                await tape.wait(b'"run_complete"')
                await noticed()
                seen = ids_of(tape.body)
                rest = await everything(world, place.workspace, f"&after={seen[0]}")
                assert ids_of(rest)[-1] == seen[-1]
                assert set(ids_of(rest)) < set(seen)
                hello, _, rest = rest.partition(b"\n\n")
                assert hello.startswith(b'data: {"type":"hello"')
                for number in seen:
                    again = await everything(world, place.workspace, f"&after={number}")
                    again = again.partition(b"\n\n")[2]
                    assert rest.endswith(again)
                    assert ids_of(again) == [each for each in ids_of(rest) if each > number]
                headers = {"last-event-id": f"{seen[-2]}"}
                async with recording(world, place.workspace, "&after=7", headers) as by_header:
                    await noticed()
                    assert ids_of(by_header.body) == seen[-1:]
                    assert b"too_old" not in by_header.body


@pytest.mark.promise("S5", "S1")
async def test_a_reader_with_deltas_comes_back_in_the_middle_of_a_message(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It is told the message whole, once, and then goes on with deltas."""
    second = trio.Event()
    model = ScriptedModel([Say("One, "), WaitFor(second), Say("two, three. " * 20, pause=0.05)])
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world) as place:
            async with recording(world, place.workspace, "&deltas=1") as tape:
                await place.session.submit("hello")
                body = await tape.wait(b"One, ")
            second.set()
            await place.ear.wait(lambda event: "two, three. two, " in str(event.payload))
            query = f"&deltas=1&after={ids_of(body)[-1]}"
            async with recording(world, place.workspace, query) as tape:
                await place.ear.wait_complete()
                again = await tape.wait(b'"run_complete"')
                assert again.count(b"One, ") == 2  # once as a message, once in the run_complete
                assert again.count(b"message_delta") > 5
                assert re.findall(rb'"type":"hello"|"too_old"', again) == [b'"type":"hello"']
                texts = [message.text for message in answers_of(again)]
                assert texts[0].startswith("One, two")
                assert texts[-1] == (await place.session.messages())[-1].text


@pytest.mark.promise("D2", "D1", "S5")
async def test_requests_are_not_asked_again_and_their_answers_are_told(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Who comes back finds open requests in the hello and nowhere else; how others ended is told,
    but not of a tool call that asks again, whose dialog it would close."""
    model = ScriptedModel([write("f", "c1")], [write("g", "c1")], "done")
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model) as world, desk(world, plain=True) as place:
            begin = (await hello_of(world, place.workspace)).last_id
            await place.session.submit("hello")
            await answer_request(place, 1)
            await place.ear.wait(lambda _: len(place.ear.of("permission_request")) == 2)
            body = await everything(world, place.workspace, f"&after={begin}")
            assert re.findall(rb'"type":"(permission_\w+)"', body) == []
            assert body.count(b'"permissions":[{') == 1
            await answer_request(place, 2)
            await place.ear.wait_complete()
            body = await everything(world, place.workspace, f"&after={begin}")
            told = [e.payload for e in events_of(body) if e.type.startswith("permission")]
            assert told == [  # twice granted, and "asked" never
                note for note in place.ear.of("permission_notification") if note.granted
            ]
            assert len(told) == 2
            skipped = [number for number, event in taken(body) if event is None]
            assert len(skipped) == 4  # twice "asked" and the request
            assert ids_of(body) == sorted(ids_of(body))


async def answer_request(place: Desk, number: int) -> None:
    """Allow the request with this number, counted from 1."""
    await place.ear.wait(lambda _: len(place.ear.of("permission_request")) >= number)
    assert await place.workspace.grant(place.ear.of("permission_request")[number - 1], "allow")


@pytest.mark.promise("S5")
async def test_who_comes_back_too_late_is_told_to_read_the_state_again(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Right behind the hello, and what happens then follows."""
    settings = attrs.evolve(SETTINGS, log_entries=5)
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, settings=settings) as world, desk(world) as place:
            begin = (await hello_of(world, place.workspace)).last_id
            await place.session.prompt("hello")
            async with recording(world, place.workspace, f"&deltas=1&after={begin}") as tape:
                await place.workspace.create_session("Newer")
                body = await tape.wait(b"Newer")
                (_, hello), (number, old), (newer, _) = taken(body)
                assert hello is not None
                assert old is not None
                assert isinstance(hello.payload, Hello)
                assert isinstance(old.payload, TooOld)
                assert hello.payload.last_id == old.payload.last_id == number
                assert old.payload.oldest_id == old.payload.last_id - 4
                assert newer == old.payload.last_id + 1


@pytest.mark.promise("S3", "S5", "S6")
async def test_a_stalled_reader_with_ids_is_told_that_it_missed_something_and_comes_back(
    tmp_path: Path,
) -> None:
    """Over a real socket: it is not cut while it does not read. When it does, what was on its way
    are whole events, then ``too_old``, then the end of the body; with that id it goes on."""
    large = Say("x" * 300_000, chunk=60_000)
    settings = Settings(log_bytes=800_000, drain_timeout=1.0)
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(
            tmp_path, ScriptedModel(*[[large]] * 12), settings=settings
        ) as world:
            async with world.visit() as workspace, listening(workspace) as ear:
                path = events_path(workspace) + "&deltas=1"
                async with world.call("GET", path) as stalled:
                    first = (await stalled.head()).partition(b"\r\n\r\n")[2]
                    session = await workspace.create_session("New Session")
                    for number in range(12):
                        await session.prompt(f"prompt {number}")
                    await ear.wait_complete(number=12)
                    assert not world.traffic.of("GET", "/events")[1].ended.is_set()
                    body = first + await stalled.rest()
                told = taken(body)
                number, last = told[-1]
                assert last is not None
                assert isinstance(last.payload, TooOld)
                assert [event.type for event in events_of(body)].count("too_old") == 1
                check_stream(events_of(body))
                async with recording(world, workspace, f"&after={number}") as again:
                    await workspace.create_session("Another")
                    assert b"too_old" not in await again.wait(b"Another")


@pytest.mark.promise("S5", "S1", "R2")
async def test_a_lost_connection_is_no_gap_for_who_comes_back(tmp_path: Path) -> None:
    """Over a real socket with the client of this package: the connection breaks in mid-sentence and
    again between two prompts; the events are those of a reader that was there all the time."""
    second = trio.Event()
    model = ScriptedModel([Say("One, "), WaitFor(second), Say("two.")], "Three.", [Hang()])
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model) as world, desk(world) as place:
            heard: list[Heard] = []

            async def hear(after: int | None, last: Callable[[Heard], bool]) -> int | None:
                """Listen until something is said; return how far that is."""
                async with place.workspace.events(after=after) as events:
                    if after is None:
                        await place.session.submit("first", run_id="r1")
                    async for event in events:
                        heard.append(Heard(event.type, event.change, event.payload))
                        if last(heard[-1]):
                            break
                return events.last_id

            def over(event: Heard) -> bool:
                return event.type == "run_complete"

            at = await hear(None, lambda e: is_answer(e) and e.payload.text == "One, ")
            second.set()
            await place.ear.wait_complete("r1")
            at = await hear(at, over)
            await place.session.prompt("next", run_id="r2")
            await place.ear.wait_complete("r2")
            await hear(at, over)
            heard = [event for event in heard if event.type != "hello"]
            check_stream(heard)
            kept = [each for each in heard if each in place.ear.events]
            assert len(kept) == len(heard)
            for event in place.ear.events:
                if event.change == "created" and event.type == "message":
                    assert event in heard
            assert [e.payload.run_id for e in heard if e.type == "run_complete"] == ["r1", "r2"]


@pytest.mark.promise("S5", "W3")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_ids_of_one_server_are_too_old_for_the_next_one(
    tmp_path: Path, end: signal.Signals
) -> None:
    """A reader that comes back by itself finds the same workspace, is told so, and goes on: ids
    only ever increase."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_server_process(tmp_path) as server, server.visit() as workspace:
            async with workspace.lasting_events() as events:
                await workspace.create_session("First")
                first = [await anext(events) for _ in range(2)]
                at = events.last_id
                server.signal(end)
                await server.wait()
                async with open_server_process(tmp_path):
                    after = [await anext(events) for _ in range(2)]
                    between = events.last_id
                    await workspace.create_session("Second")
                    after.append(await anext(events))
                    told = [event.type for event in first + after]
                    assert told == ["hello", "session", "hello", "too_old", "session"]
                    assert at is not None
                    assert between is not None
                    assert events.last_id is not None
                    assert at < between < events.last_id < 2**53
