"""What summaries, todos and titles write to a store, over the real one and its twin."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from crush_trio.errors import UnknownSessionError
from crush_trio.ids import MessageID, SessionID
from crush_trio.wire.events import Event
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sessions import Session, Todo
from limits_kit import REAL_LIMIT
from store_kit import KINDS, Clock, Kind, Opened, assistant, opening

NOBODY = SessionID("nobody")
TODOS = (Todo("Ship", "in_progress", "Shipping"),)


@pytest.fixture(params=KINDS)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Opened]:
    kind: Kind = request.param
    events: list[Event] = []
    clock = Clock()
    async with opening(kind, tmp_path / "data", events, clock) as store:
        yield Opened(store, events, clock)


async def session_of(opened: Opened) -> SessionID:
    return SessionID((await opened.store.create_session("Old").wait()).id)


async def test_todos_are_replaced_and_the_old_ones_returned(opened: Opened) -> None:
    """One event with the whole session; nothing else changes (agent contract 2.24)."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await session_of(opened)
        assert await opened.store.set_todos(session_id, TODOS).wait() == ()
        assert await opened.store.set_todos(session_id, ()).wait() == TODOS
        told = [event.payload for event in opened.events[1:]]
        assert all(isinstance(each, Session) and each.title == "Old" for each in told)
        with pytest.raises(UnknownSessionError):
            await opened.store.set_todos(NOBODY, TODOS).wait()


async def test_a_summary_takes_the_place_of_the_context(opened: Opened) -> None:
    """Its size is the context's now; costs add up (agent contract 1.15)."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await session_of(opened)
        store = opened.store
        await store.add_usage(session_id, prompt_tokens=9, completion_tokens=8, cost=0.5).wait()
        message_id = MessageID("m1")
        stored = await store.set_summary(
            session_id, message_id, completion_tokens=30, cost=0.25
        ).wait()
        assert (stored.summary_message_id, stored.prompt_tokens, stored.completion_tokens) == (
            "m1",
            0,
            30,
        )
        assert stored.cost == 0.75
        assert opened.events[-1].payload == stored


async def test_a_deleted_message_is_told_as_it_was(opened: Opened) -> None:
    """The event has the message; the session counts one less; another deletion is nothing."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await session_of(opened)
        said = assistant(session_id)
        await opened.store.create_message(said).wait()
        await opened.store.append_journal(said.id, "text", 0, "begun").wait()
        await opened.store.delete_message(said.id).wait()
        last = opened.events[-1]
        assert (last.type, last.change) == ("message", "deleted")
        assert isinstance(last.payload, WireMessage)
        assert last.payload.id == said.id
        assert await opened.store.messages(session_id) == []
        session = await opened.store.session(session_id)
        assert session is not None
        assert session.message_count == 0
        events = len(opened.events)
        await opened.store.delete_message(said.id).wait()
        assert len(opened.events) == events


async def test_a_rename_takes_back_no_cost_that_was_added_meanwhile(opened: Opened) -> None:
    """A client sends the cost that it knows, and a run or a title has added to it since (R-17)."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await session_of(opened)
        store = opened.store
        await store.add_usage(session_id, prompt_tokens=9, completion_tokens=8, cost=0.5).wait()
        known = await store.session(session_id)
        assert known is not None
        usage = store.add_usage(session_id, prompt_tokens=20, completion_tokens=2, cost=0.25)
        title = store.set_title(session_id, "Made", prompt_tokens=5, cost=0.125, instead_of="Old")
        renamed = await store.rename_session(session_id, "Mine", cost=known.cost).wait()
        assert usage.done
        assert title.done
        assert (renamed.title, renamed.cost) == ("Mine", 0.875)
        assert (renamed.prompt_tokens, renamed.completion_tokens) == (25, 2)


async def test_a_title_that_comes_late_does_not_undo_a_rename(opened: Opened) -> None:
    """What making it used is added all the same (agent contract 1.13)."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await session_of(opened)
        await opened.store.rename_session(session_id, "Mine").wait()
        late = opened.store.set_title(session_id, "Made", cost=0.5, instead_of="Old")
        assert ((await late.wait()).title, (await late.wait()).cost) == ("Mine", 0.5)
        forced = opened.store.set_title(session_id, "Made")
        assert (await forced.wait()).title == "Made"


async def test_a_callback_comes_between_the_commit_and_the_event(opened: Opened) -> None:
    """In the step of the event; not for a write that fails, and not twice."""
    with trio.fail_after(REAL_LIMIT):
        session_id = await session_of(opened)
        heard: list[int] = []
        job = opened.store.set_todos(session_id, TODOS)
        job.before_event(lambda: heard.append(len(opened.events)))
        await job.wait()
        assert heard == [len(opened.events) - 1]
        failing = opened.store.set_todos(NOBODY, TODOS)
        failing.before_event(lambda: heard.append(-1))
        with pytest.raises(UnknownSessionError):
            await failing.wait()
        assert len(heard) == 1
