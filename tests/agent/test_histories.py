"""Conversations in memory: the same as those in the store, and no more of them than allowed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from core_kit import open_faulty_store
from crush_trio.agent.histories import Histories, History
from crush_trio.ids import MessageID, SessionID, new_id
from crush_trio.messages import STOP, Message, Text, TextPart
from crush_trio.store import Store
from store_kit import foreign

LIMIT = 3600


@attrs.define(eq=False)
class Shelf:
    store: Store
    histories: Histories
    path: Path

    async def session(self) -> SessionID:
        return SessionID((await self.store.create_session("x").wait()).id)

    async def load(self, session: SessionID) -> History:
        found = await self.histories.load(session)
        assert found is not None
        assert found[0].id == session
        return found[1]

    async def say(self, session: SessionID, text: str) -> Message:
        message = Message(MessageID(new_id()), session, "user", (TextPart(Text(text)), STOP))
        await self.store.create_message(message).wait()
        return message


@asynccontextmanager
async def open_shelf(tmp_path: Path, max_bytes: int = 10**9) -> AsyncGenerator[Shelf]:
    with trio.fail_after(LIMIT):
        async with open_faulty_store(lambda _: None, name=tmp_path / "crush.db") as store:
            yield Shelf(store, Histories(store, max_bytes), tmp_path)


async def test_a_history_is_read_once_and_kept(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What is written meanwhile is added by whoever wrote it."""
    async with open_shelf(tmp_path) as shelf:
        session = await shelf.session()
        first = await shelf.say(session, "one")
        history = await shelf.load(session)
        assert history.messages == [first]
        history.append(await shelf.say(session, "two"))
        assert await shelf.load(session) is history
        assert history.messages == await shelf.store.messages(session)


@pytest.mark.promise("R9", "R14")
async def test_what_another_program_wrote_is_seen_by_the_very_next_turn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Though this program has written nothing since."""
    async with open_shelf(tmp_path) as shelf:
        session = await shelf.session()
        await shelf.say(session, "ours")
        kept = await shelf.load(session)
        foreign(
            tmp_path,
            "INSERT INTO messages (id, session_id, role, parts, created_at, updated_at) VALUES "
            f"""('f', '{session}', 'user', '[{{"type":"text","data":{{"text":"theirs"}}}}]', 9, 9)""",
        )
        seen = await shelf.load(session)
        assert seen is not kept
        assert sorted(message.text for message in seen.messages) == ["ours", "theirs"]


async def test_what_is_dropped_is_read_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Dropping what is not kept is nothing."""
    async with open_shelf(tmp_path) as shelf:
        session = await shelf.session()
        history = await shelf.load(session)
        shelf.histories.drop(session)
        shelf.histories.drop(session)
        await shelf.say(session, "one")
        assert history.messages == []
        assert len((await shelf.load(session)).messages) == 1


@pytest.mark.promise("C2")
async def test_a_load_waits_for_what_was_posted_before_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A write that is still under way is part of the conversation."""
    async with open_shelf(tmp_path) as shelf:
        session = await shelf.session()
        message = Message(MessageID("m"), session, "user", (TextPart(Text("late")), STOP))
        shelf.store.create_message(message)
        assert [m.text for m in (await shelf.load(session)).messages] == ["late"]


async def test_the_one_unused_for_longest_goes_when_there_is_too_much(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The one in use stays, however large it is."""
    async with open_shelf(tmp_path, max_bytes=2 * 4_000) as shelf:
        sessions = [await shelf.session() for _ in range(3)]
        for session in sessions:
            await shelf.say(session, "x" * 1_000)
        kept = [await shelf.load(session) for session in sessions[:2]]
        assert await shelf.load(sessions[0]) is kept[0]
        third = await shelf.load(sessions[2])
        assert await shelf.load(sessions[2]) is third
        assert await shelf.load(sessions[0]) is kept[0]
        assert await shelf.load(sessions[1]) is not kept[1]
        kept[0].append(await shelf.say(sessions[0], "y" * 100_000))
        shelf.histories._kept[sessions[0]] = kept[0]
        assert await shelf.load(sessions[0]) is kept[0]


async def test_a_session_that_is_not_there_has_no_history(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Also one whose deletion is still under way."""
    async with open_shelf(tmp_path) as shelf:
        session = await shelf.session()
        await shelf.load(session)
        shelf.store.delete_session(session)
        assert await shelf.histories.load(session) is None
        assert await shelf.histories.load(SessionID("nowhere")) is None


def test_a_newer_state_takes_the_place_of_an_older_one() -> None:
    """And the size is that of what is there."""
    one, two = [Message(MessageID(name), SessionID("s"), "assistant") for name in "ab"]
    history = History([])
    history.append(one)
    history.append(two)
    longer = Message(one.id, one.session_id, "assistant", (TextPart(Text("x" * 100)),))
    history.replace(longer)
    assert history.messages == [longer, two]
    assert history.size == 2_300
    history.replace(Message(MessageID("c"), one.session_id, "assistant"))
    assert len(history.messages) == 3
