"""A message while a model writes it: what is stored and shown, and when."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import Disk, now, open_faulty_store, rows
from crush_trio.agent.draft import Draft
from crush_trio.agent.history import model_messages
from crush_trio.errors import StoreError
from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import FinishPart, Message, Reasoning, ReasoningPart, ToolCall
from crush_trio.providers.thinking import ThinkingBlock, joined_signature
from crush_trio.settings import Settings
from crush_trio.store import Store
from crush_trio.wire.events import Event
from crush_trio.wire.messages import WireMessage

LIMIT = 3600


@attrs.define(eq=False)
class Desk:
    """A draft that is kept stored, and what was published of it, with the times."""

    draft: Draft
    store: Store
    disk: Disk
    session_id: SessionID
    shown: list[tuple[float, WireMessage]]
    streaming: list[bool]

    @property
    def texts(self) -> list[str]:
        """The texts of the updates."""
        return [message.text for _, message in self.shown[1:]]

    @property
    def times(self) -> list[float]:
        """When the updates were published, to the millisecond."""
        return [round(at, 3) for at, _ in self.shown[1:]]

    async def stored(self) -> Message:
        """Return the message as it is stored."""
        (message,) = await self.store.messages(self.session_id)
        return message

    async def journal(self) -> list[tuple[str, int, str]]:
        """Return the increments in the journal: part, offset, text."""
        query = (
            "SELECT part, position, text FROM crush_trio_journal WHERE text <> '' ORDER BY rowid"
        )
        return [(part, position, text) for part, position, text in await rows(self.store, query)]

    async def said(self) -> str:
        """Return the text that would be there after a crash now."""
        return (await self.stored()).text + "".join(text for _, _, text in await self.journal())


@asynccontextmanager
async def open_desk(settings: Settings | None = None) -> AsyncGenerator[Desk]:
    settings = settings or Settings()
    disk, shown, streaming = Disk(), list[tuple[float, WireMessage]](), list[bool]()

    def publish(event: Event) -> None:
        if isinstance(event.payload, WireMessage):
            shown.append((trio.current_time(), event.payload))
            streaming.append(event.streaming)

    with trio.fail_after(LIMIT):
        async with open_faulty_store(publish, disk) as store:
            session = SessionID((await store.create_session("x").wait()).id)
            message = Message(MessageID("m"), session, "assistant")
            draft = Draft(store, message, settings, now)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(draft.keep_stored)
                await wait_all_tasks_blocked()
                yield Desk(draft, store, disk, session, shown, streaming)
                nursery.cancel_scope.cancel("the test is over")


# --- pace ----------------------------------------------------------------------------------------


@pytest.mark.promise("R10", "S1")
async def test_the_first_text_goes_out_at_once(autojump_clock: MockClock) -> None:
    """And what comes next when the pause is over, all of it in one snapshot."""
    async with open_desk() as desk:
        desk.draft.add_text("One")
        await wait_all_tasks_blocked()
        assert (desk.times, desk.texts) == ([0.0], ["One"])
        for word in (" two", " three", " four"):
            await trio.sleep(0.01)
            desk.draft.add_text(word)
        await trio.sleep(1)
        assert (desk.times, desk.texts) == ([0.0, 0.033], ["One", "One two three four"])


async def test_the_pause_between_snapshots_grows_with_the_message(
    autojump_clock: MockClock,
) -> None:
    """A message of 100,000 characters is shown twice a second, at 200 kB/s (architecture 5)."""
    async with open_desk() as desk:
        desk.draft.add_text("x" * 100_000)
        for _ in range(200):
            await trio.sleep(0.01)
            desk.draft.add_text("y")
        pauses = [
            later - earlier for earlier, later in zip(desk.times, desk.times[1:], strict=False)
        ]
        assert len(pauses) >= 3
        for pause in pauses:
            assert pause == pytest.approx(0.5, abs=0.05)


@pytest.mark.promise("C1")
async def test_between_snapshots_text_is_in_the_journal_within_50_ms(
    autojump_clock: MockClock,
) -> None:
    """However long the message, a crash loses less than that; nothing of it is shown early."""
    async with open_desk() as desk:
        draft = desk.draft
        draft.add_text("x" * 200_000)
        await wait_all_tasks_blocked()
        due: list[tuple[float, int]] = []
        for _ in range(80):
            await trio.sleep(0.01)
            draft.add_text("y")
            due.append((trio.current_time() + 0.05, len(draft.text)))
            length = len(await desk.said())
            assert all(length >= needed for at, needed in due if at <= trio.current_time())
        assert len(desk.texts) == 1
        await trio.sleep(1)
        assert desk.texts[-1] == draft.text
        assert await desk.journal() == []


async def test_the_journal_holds_both_flows_with_their_offsets(autojump_clock: MockClock) -> None:
    """So that what is recovered is put where it belongs."""
    async with open_desk(Settings(snapshot_pause=10)) as desk:
        desk.draft.add_reasoning("Hm.")
        await wait_all_tasks_blocked()
        desk.draft.add_reasoning(" Well.")
        desk.draft.add_text("Text")
        await trio.sleep(0.05)
        desk.draft.add_text(" more")
        await trio.sleep(0.05)
        assert await desk.journal() == [
            ("reasoning", 3, " Well."),
            ("text", 0, "Text"),
            ("text", 4, " more"),
        ]


async def test_a_draft_that_says_nothing_writes_nothing(autojump_clock: MockClock) -> None:
    """Nothing is written for its own sake, however long it takes."""
    async with open_desk() as desk:
        desk.draft.add_text("One")
        await trio.sleep(1000)
        assert desk.texts == ["One"]


# --- what goes out at once -------------------------------------------------------------------------


@pytest.mark.promise("S2", "S4")
async def test_calls_and_the_end_of_the_reasoning_go_out_in_the_same_step(
    autojump_clock: MockClock,
) -> None:
    """Each with all that was said before it, and never to be replaced (agent contract 4.5)."""
    async with open_desk(Settings(snapshot_pause=100)) as desk:
        draft = desk.draft
        draft.add_reasoning("Hm.")
        await wait_all_tasks_blocked()
        draft.add_reasoning(" Well.")
        draft.end_reasoning("sig")
        draft.add_text("Text")
        draft.start_call("c1", "bash")
        draft.end_call("c1", "bash", "{}")
        draft.add_text(" more")
        await draft.finish("tool_use").wait()
        assert desk.times == [0.0] * 5
        assert desk.streaming == [False, True, False, False, False, False]
        last = desk.shown[-1][1]
        assert [part.data.__class__.__name__ for part in last.parts] == [
            "WireReasoning",
            "Text",
            "WireToolCall",
            "Finish",
        ]
        assert last.text == "Text more"


async def test_a_later_signature_replaces_the_earlier_one(autojump_clock: MockClock) -> None:
    """Reasoning may go on behind an answer's text; the last signature stands for all of it."""
    async with open_desk() as desk:
        draft = desk.draft
        draft.add_reasoning("Hm.")
        draft.end_reasoning("one")
        draft.add_text("Text")
        draft.add_reasoning(" Well.")
        draft.end_reasoning("both")
        draft.end_reasoning()
        await draft.finish("end_turn").wait()
        thought = (await desk.stored()).parts[0].data
        assert isinstance(thought, Reasoning)
        assert (thought.thinking, thought.signature) == ("Hm. Well.", "both")


async def test_signatures_of_several_blocks_are_kept_where_crush_does_not_look(
    autojump_clock: MockClock,
) -> None:
    """It sends back what it finds as the signature, and no vendor knows a joined one."""
    of_two = joined_signature([ThinkingBlock(3, "s1"), ThinkingBlock(6, "s2")])
    of_one = joined_signature([ThinkingBlock(3, "s1"), ThinkingBlock(0, redacted="XX")])
    for joined, plain in ((of_two, ""), (of_one, "s1")):
        async with open_desk() as desk:
            desk.draft.add_reasoning("Hm. Well.")
            desk.draft.end_reasoning(joined)
            desk.draft.add_text("Yes.")
            await desk.draft.finish("end_turn").wait()
            stored = await desk.stored()
            (thought,) = [part.data for part in stored.parts if isinstance(part, ReasoningPart)]
            assert (thought.signature, thought.blocks) == (plain, joined)
            (told,) = model_messages([stored], {})
            assert told.reasoning_signature == joined


async def test_a_signature_without_text_is_kept(autojump_clock: MockClock) -> None:
    """A vendor may show nothing of what was thought, and want the signature back all the same."""
    async with open_desk() as desk:
        desk.draft.end_reasoning("sig")
        await desk.draft.finish("end_turn").wait()
        thought = (await desk.stored()).parts[0].data
        assert isinstance(thought, Reasoning)
        assert (thought.thinking, thought.signature) == ("", "sig")


async def test_a_newline_at_the_very_beginning_is_dropped(autojump_clock: MockClock) -> None:
    """One, and only if nothing stands before it (agent contract 1.8)."""
    async with open_desk() as desk:
        desk.draft.add_text("\n")
        desk.draft.add_text("\n\nText\n")
        desk.draft.add_text("\nmore")
        assert desk.draft.text == "\nText\n\nmore"
        other = Draft(desk.store, Message(MessageID("n"), desk.session_id, "assistant"), Settings())
        other.add_reasoning("Hm.")
        other.add_text("\nText")
        assert other.text == "\nText"


# --- retries ---------------------------------------------------------------------------------------


@pytest.mark.promise("R10")
async def test_what_is_retracted_is_withdrawn_everywhere(autojump_clock: MockClock) -> None:
    """From the row, the journal and the streams; the next attempt starts clean."""
    async with open_desk(Settings(snapshot_pause=1)) as desk:
        draft = desk.draft
        draft.add_reasoning("Hm.")
        draft.add_text("Half")
        await wait_all_tasks_blocked()
        draft.add_text(" of it")
        await trio.sleep(0.05)
        draft.start_call("c1", "bash")
        draft.add_text(" and")
        await trio.sleep(0.05)
        assert await desk.journal()
        draft.retract()
        await draft.wait_stored()
        assert (await desk.stored()).parts == ()
        assert await desk.journal() == []
        assert desk.shown[-1][1].parts == ()
        assert (draft.text, draft.calls, draft.size) == ("", (), 0)
        draft.add_text("Anew")
        await trio.sleep(2)
        assert desk.texts[-1] == "Anew"


async def test_retracting_nothing_writes_nothing(autojump_clock: MockClock) -> None:
    """A request that failed before its first byte is tried again unseen."""
    async with open_desk() as desk:
        desk.draft.retract()
        await trio.sleep(1)
        assert desk.texts == []


# --- the end -------------------------------------------------------------------------------------------


@pytest.mark.promise("R9")
async def test_what_ended_early_is_closed(autojump_clock: MockClock) -> None:
    """Reasoning gets its end, an unfinished call empty arguments; a finished one keeps its own."""
    async with open_desk() as desk:
        draft = desk.draft
        draft.add_reasoning("Hm.")
        draft.start_call("c1", "bash")
        draft.end_call("c1", "bash", '{"a":1}')
        draft.start_call("c2", "ls")
        draft.close_parts()
        await draft.finish("canceled", "User canceled request").wait()
        stored = await desk.stored()
        assert stored.tool_calls == (
            ToolCall("c1", "bash", '{"a":1}', finished=True),
            ToolCall("c2", "ls", "{}", finished=True),
        )
        (reasoning,) = [part.data for part in stored.parts if isinstance(part, ReasoningPart)]
        assert reasoning.finished_at
        assert stored.finish is not None
        assert (stored.finish.reason, stored.finish.message) == (
            "canceled",
            "User canceled request",
        )


async def test_a_finish_can_be_replaced(autojump_clock: MockClock) -> None:
    """A step that was cancelled while its end was being stored has one finish part, the last one."""
    async with open_desk() as desk:
        desk.draft.finish("tool_use")
        await desk.draft.finish("canceled").wait()
        assert desk.draft.finished
        parts = (await desk.stored()).parts
        assert [part.data.reason for part in parts if isinstance(part, FinishPart)] == ["canceled"]
        assert len(parts) == 1


# --- failures ----------------------------------------------------------------------------------------


@pytest.mark.promise("C2")
async def test_a_write_that_fails_ends_the_keeping(autojump_clock: MockClock) -> None:
    """With the reason; nothing of it was shown."""
    disk = Disk()
    shown: list[Event] = []
    with trio.fail_after(LIMIT):
        async with open_faulty_store(shown.append, disk) as store:
            session = SessionID((await store.create_session("x").wait()).id)
            draft = Draft(store, Message(MessageID("m"), session, "assistant"), Settings(), now)
            await draft.wait_stored()
            disk.full = True
            draft.add_text("lost")
            with pytest.raises(StoreError, match="disk is full"):
                await draft.keep_stored()
            assert [event.change for event in shown] == ["created", "created"]


@pytest.mark.promise("C2")
async def test_a_reader_who_meets_a_failed_write_leaves_it_for_the_run(
    autojump_clock: MockClock,
) -> None:
    """A flush for somebody's request neither fails that request nor hides the failure."""
    disk = Disk()
    with trio.fail_after(LIMIT):
        async with open_faulty_store(lambda _: None, disk) as store:
            session = SessionID((await store.create_session("x").wait()).id)
            draft = Draft(store, Message(MessageID("m"), session, "assistant"), Settings(), now)
            await draft.wait_stored()
            disk.full = True
            draft.add_text("lost")
            await draft.flush()
            disk.full = False
            with pytest.raises(StoreError, match="disk is full"):
                await draft.wait_stored()


async def test_what_cannot_be_encoded_is_replaced(autojump_clock: MockClock) -> None:
    """Half a surrogate pair from a model does not cost the answer."""
    async with open_desk() as desk:
        desk.draft.add_reasoning("a\ud83d")
        desk.draft.add_text("b\udc00")
        await desk.draft.finish("end_turn").wait()
        assert (await desk.stored()).text == "b?"


def test_a_draft_says_what_it_is() -> None:
    """Which parts there are, never what they hold."""

    async def main() -> None:
        async with open_desk() as desk:
            desk.draft.add_text("secret")
            assert repr(desk.draft) == "<Draft m ['text'] finish None>"

    trio.run(main, clock=MockClock(autojump_threshold=0))
