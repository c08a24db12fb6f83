"""The store of a data directory: sync methods that accept writes, async ones that read."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import msgspec

from crush_trio.errors import StoreClosedError, StoreError
from crush_trio.ids import MessageID, SessionID, new_id
from crush_trio.messages import Message
from crush_trio.store import files, journal, messages, sessions
from crush_trio.store.database import WriteConnection
from crush_trio.store.jobs import Job
from crush_trio.store.journal import JournalPart
from crush_trio.store.reads import Query, Reads
from crush_trio.store.sessions import Todos
from crush_trio.store.writer import Writer
from crush_trio.wire.events import Event, File
from crush_trio.wire.sessions import Session, Todo

T = TypeVar("T")


class Store:
    """Sessions, messages and files. Use :func:`open_store` or :func:`open_memory_store`.

    A write is accepted at once, in order, and never waits; its :class:`Job` tells when it is
    committed. The event that reports it is published then, in the same order, whether anybody
    waits or not. Their jobs fail with :class:`UnknownSessionError` where the session does not exist.

    A read sees committed state and never waits behind a write. Once the store is closed, reads and
    writes raise :class:`StoreClosedError`.
    """

    def __init__(self, writer: Writer, reads: Reads) -> None:
        self._writer = writer
        self._reads = reads

    def __repr__(self) -> str:
        return f"<Store {self._writer!r}>"

    @property
    def foreign_changes(self) -> int:
        """A number that changes when another program wrote to the database.

        Looked at with every commit; :meth:`current_session` looks now.
        """
        return self._writer.foreign_changes

    def current_session(self, session_id: SessionID) -> Job[Session | None]:
        """Read a session behind all that was posted so far, and look whether another program wrote.

        One way to the writer's thread and back, where a read and a look would be two.
        """

        def work(writing: WriteConnection) -> tuple[Session | None, Event | None]:
            return sessions.find(writing.connection, session_id), None

        return self._writer.post(work)

    # --- sessions: writes ---------------------------------------------------------

    def create_session(
        self, title: str, *, session_id: SessionID | None = None, parent: str = ""
    ) -> Job[Session]:
        """Create a session with a new id, or with the given one for a sub-agent."""
        identity = session_id or SessionID(new_id())
        return self._writer.post(lambda writing: sessions.create(writing, identity, parent, title))

    def rename_session(
        self,
        session_id: SessionID,
        title: str,
        *,
        todos: Todos = msgspec.UNSET,
        cost: float | None = None,
    ) -> Job[Session]:
        """Set a session's title, and its todos and cost in dollars where given.

        A cost that is lower than the stored one is out of date and changes nothing.
        """
        return self._writer.post(
            lambda writing: sessions.rename(writing, session_id, title, todos, cost)
        )

    def set_title(
        self,
        session_id: SessionID,
        title: str,
        *,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cost: float = 0.0,
        instead_of: str = "",
    ) -> Job[Session]:
        """Set a title that a model made, adding what that used; cost is in dollars.

        With ``instead_of``, a session that is not called so any more keeps its title.
        """
        usage = (prompt_tokens, completion_tokens, cost)
        return self._writer.post(
            lambda writing: sessions.set_title(writing, session_id, title, usage, instead_of)
        )

    def set_todos(self, session_id: SessionID, todos: tuple[Todo, ...]) -> Job[tuple[Todo, ...]]:
        """Replace a session's todos. The job's value is what they were."""
        return self._writer.post(lambda writing: sessions.set_todos(writing, session_id, todos))

    def set_summary(
        self, session_id: SessionID, message_id: MessageID, *, completion_tokens: int, cost: float
    ) -> Job[Session]:
        """Let a message stand for all before it; its size is the context's now; add the cost."""
        usage = (completion_tokens, cost)
        return self._writer.post(
            lambda writing: sessions.set_summary(writing, session_id, message_id, usage)
        )

    def add_usage(
        self, session_id: SessionID, *, prompt_tokens: int, completion_tokens: int, cost: float
    ) -> Job[Session]:
        """Replace the token counters by those that are not zero; add the cost in dollars."""
        usage = (prompt_tokens, completion_tokens, cost)
        return self._writer.post(lambda writing: sessions.add_usage(writing, session_id, usage))

    def delete_session(self, session_id: SessionID) -> Job[Session]:
        """Delete a session with its messages and files; its child sessions stay.

        The job's value is the session as it was.
        """
        return self._writer.post(lambda writing: sessions.delete(writing, session_id))

    # --- messages: writes -----------------------------------------------------------

    def create_message(self, message: Message) -> Job[None]:
        """Store a new message whose id and times the caller made."""
        return self._writer.post(lambda writing: messages.create(writing, message))

    def update_message(self, message: Message, *, streaming: bool = False) -> Job[None]:
        """Store all that a message says by now.

        Args:
            message: The newest value, with every part.
            streaming: Whether a later update of this message makes this event worthless (S1).
        """
        return self._writer.post(
            lambda writing: messages.update(writing, message, streaming=streaming)
        )

    def delete_message(self, message_id: MessageID) -> Job[None]:
        """Delete a message, and tell what it was; one that is not there is no error."""
        return self._writer.post(lambda writing: messages.delete(writing, message_id))

    def append_journal(
        self, message_id: MessageID, part: JournalPart, offset: int, text: str
    ) -> Job[None]:
        """Keep streamed text until the message is stored again, without an event (C1).

        Args:
            message_id: An unfinished message that this store created.
            part: Which part the text belongs to.
            offset: Where the text begins, in characters from the beginning of that part.
            text: The text since the last increment.
        """

        def work(writing: WriteConnection) -> tuple[None, Event | None]:
            return journal.append(writing, message_id, part, offset, text), None

        return self._writer.post(work)

    # --- files: writes ---------------------------------------------------------------

    def record_read(self, session_id: SessionID, path: str, *, modified: int = 0) -> Job[None]:
        """Note that a session read a file now, by its absolute path, without an event.

        Args:
            session_id: The session.
            path: The file.
            modified: Unix seconds of the file's last change as it was read; if its disk has a
                clock that is ahead of ours, it counts as read then.
        """
        return self._writer.post(
            lambda writing: files.record_read(writing, session_id, path, modified)
        )

    def add_file_version(self, session_id: SessionID, path: str, content: str) -> Job[File]:
        """Store the next version of a file that a session changed."""
        identity = new_id()
        return self._writer.post(
            lambda writing: files.add_version(writing, identity, session_id, path, content)
        )

    # --- reads ------------------------------------------------------------------------

    async def session(self, session_id: SessionID) -> Session | None:
        """Return a session, a child as well, or None."""
        return await self._read(partial(sessions.find, session_id=session_id))

    async def sessions(self) -> list[Session]:
        """Return the sessions without a parent, the one changed last first."""
        return await self._read(sessions.top_level)

    async def messages(self, session_id: SessionID) -> list[Message]:
        """Return a session's messages, oldest first; none for an unknown session.

        Raises:
            StoreError: a message has parts that cannot be read; the error names it.
        """
        return await self._read(partial(messages.of_session, session_id=session_id))

    async def user_messages(self, session_id: SessionID | None = None) -> list[Message]:
        """Return what users wrote, in one session or in all, newest first.

        Raises:
            StoreError: as for :meth:`messages`.
        """
        return await self._read(partial(messages.by_user, session_id=session_id))

    async def last_read(self, session_id: SessionID, path: str) -> int | None:
        """Return when a session last read a file, in unix seconds, or None if it never did."""
        return await self._read(partial(files.last_read, session_id=session_id, path=path))

    async def read_files(self, session_id: SessionID) -> list[str]:
        """Return the absolute paths that a session read, the latest first."""
        return await self._read(partial(files.read_paths, session_id=session_id))

    async def file_versions(self, session_id: SessionID) -> list[File]:
        """Return the file versions of a session, the lowest version first."""
        return await self._read(partial(files.of_session, session_id=session_id))

    async def latest_file(self, session_id: SessionID, path: str) -> File | None:
        """Return the highest version of a file in a session, or None."""
        return await self._read(partial(files.latest, session_id=session_id, path=path))

    async def _read(self, query: Query[T]) -> T:
        if self._writer.closed:
            raise StoreClosedError
        try:
            return await self._reads.read(query)
        except StoreError as error:
            if self._writer.closed:  # meanwhile
                raise StoreClosedError from error
            raise
