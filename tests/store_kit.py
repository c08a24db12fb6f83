"""What the tests of the store share: an open store with its events, and messages to put in it."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any, Literal

import attrs
import trio

from crush_trio.ids import MessageID, SessionID, new_id
from crush_trio.messages import STOP, Message, Part, Role, Text, TextPart
from crush_trio.store import Job, Store, open_memory_store, open_store
from crush_trio.store.database import WriteConnection
from crush_trio.wire.events import Event
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sessions import Session

Kind = Literal["file", "memory"]
KINDS: tuple[Kind, ...] = ("file", "memory")


class Clock:
    """Unix seconds that a test sets."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@attrs.define(eq=False)
class Opened:
    """An open store, what it published, and its clock."""

    store: Store
    events: list[Event]
    clock: Clock
    kind: Kind = "file"

    async def hold(self) -> Gate:
        """Return the gate that lets the next commit begin: what is posted until then shares it.

        The twin needs none: it commits nothing before the next checkpoint.
        """
        gate = Gate()
        if self.kind == "file":
            self.store._writer.post(gate)
            await gate.reached.wait()
        return gate

    async def session(self, title: str = "New Session") -> SessionID:
        """Create a session and return its id."""
        return SessionID((await self.store.create_session(title).wait()).id)

    async def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return what a query finds in the store's database."""
        return await self.store._reads.read(lambda c: c.execute(query, values).fetchall())

    def post_sql(self, *statements: str) -> Job[None]:
        """Run statements as one job of the store's writer."""

        def work(writing: WriteConnection) -> tuple[None, None]:
            for statement in statements:
                writing.execute(statement)
            return None, None

        return self.store._writer.post(work)

    def told(self) -> list[str]:
        """Return the events as short texts."""
        return [told(event) for event in self.events]


def opening(
    kind: Kind, directory: Path, events: list[Event], clock: Clock
) -> AbstractAsyncContextManager[Store]:
    """Return the context manager of a real store or of its twin."""
    if kind == "memory":
        return open_memory_store(events.append, clock=clock)
    return open_store(directory, events.append, clock=clock)


def told(event: Event) -> str:
    """Return an event as ``type change what``."""
    match event.payload:
        case Session(title=title):
            return f"session {event.change} {title}"
        case WireMessage() as message:
            return f"message {event.change} {message.text}"
        case _:
            return f"{event.type} {event.change}"


def message(session_id: SessionID, role: Role, *parts: Part, at: int = 1_000) -> Message:
    """Return a message with these parts and a new id."""
    return Message(MessageID(new_id()), session_id, role, parts, created_at=at, updated_at=at)


def user(session_id: SessionID, text: str, *, at: int = 1_000) -> Message:
    """Return what a user wrote."""
    return message(session_id, "user", TextPart(Text(text)), STOP, at=at)


def assistant(session_id: SessionID, *parts: Part, at: int = 1_000) -> Message:
    """Return an answer; it is unfinished unless a finish part is among the parts."""
    return message(session_id, "assistant", *parts, at=at)


def foreign(directory: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as another program would; return what the last one finds."""
    with closing(sqlite3.connect(directory / "crush.db", timeout=5)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        return rows


class Gate:
    """A job that holds its transaction open until it is let through (real store only)."""

    def __init__(self) -> None:
        self.reached = trio.Event()
        self.open = trio.Event()

    def __call__(self, writing: WriteConnection) -> tuple[None, None]:
        """Write something, and wait in the writer's thread."""
        writing.execute("CREATE TABLE IF NOT EXISTS gated (x)")
        trio.from_thread.run_sync(self.reached.set)
        trio.from_thread.run(self._wait)
        return None, None

    async def _wait(self) -> None:
        with trio.move_on_after(5):  # a test that fails before it opens the gate must end
            await self.open.wait()
