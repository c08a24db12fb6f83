"""The histories of the sessions in use, decoded and ready for a model.

A session's history is read once, when its first run comes, and kept while it is used; what is
written meanwhile is added by whoever wrote it. The reference reads all of it for every prompt.
Bounded in bytes over all sessions: the one unused for longest goes first. Dropped when another
program wrote to the database.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from crush_trio.agent.history import Memo
from crush_trio.ids import SessionID
from crush_trio.messages import (
    BinaryPart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from crush_trio.providers.base import ModelMessage
from crush_trio.store import Store
from crush_trio.wire.sessions import Session


@attrs.define(eq=False)
class History:
    """One session's conversation, oldest message first, with its conversions for models."""

    messages: list[Message]
    memo: Memo = attrs.field(factory=dict[str, tuple[ModelMessage, ...]], repr=False)
    size: int = 0

    def time(self, now: float) -> int:
        """Return unix seconds for a message that comes now, never before the last one's.

        A conversation is read in the order of its times, and a clock may be set back (R9).
        """
        return max(int(now), self.messages[-1].created_at if self.messages else 0)

    def append(self, message: Message) -> None:
        """Add a message that has just been stored. Not a checkpoint."""
        self.messages.append(message)
        self.size += _size(message)

    def replace(self, message: Message) -> None:
        """Put the newer state of a message in its place, which is near the end. Not a checkpoint."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].id == message.id:
                self.size += _size(message) - _size(self.messages[index])
                self.messages[index] = message
                return
        self.append(message)

    def remove(self, message_id: str) -> None:
        """Take out a message that is being deleted. Not a checkpoint."""
        for message in [each for each in self.messages if each.id == message_id]:
            self.messages.remove(message)
            self.size -= _size(message)


class Histories:
    """The kept histories of a data directory.

    Args:
        store: Where they are read from.
        max_bytes: How much all of them together may hold.
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._kept: OrderedDict[SessionID, History] = OrderedDict()
        self._foreign_changes = store.foreign_changes
        self._drops = 0

    async def load(self, session_id: SessionID) -> tuple[Session, History] | None:
        """Return a session with its history, which is read if it is not kept; None if there is none.

        Always a checkpoint. Only the session's active run calls this, so nobody else is reading the
        same one.

        Raises:
            StoreError: the database cannot be looked at or read.
        """
        # Behind all that was posted so far, and then it is known who else wrote since the last commit.
        session = await self._store.current_session(session_id).wait()
        if session is None:
            return None
        self._drop_stale()
        history = self._kept.get(session_id)
        if history is None:
            drops = self._drops
            messages = await self._store.messages(session_id)
            history = History(messages, size=sum(map(_size, messages)))
            if drops != self._drops:  # it may have been read before what it was dropped for
                return session, history
            self._kept[session_id] = history
        self._kept.move_to_end(session_id)
        self._trim(session_id)
        return session, history

    def drop(self, session_id: SessionID) -> None:
        """Forget a history: it is gone, or may not be what is stored. Not a checkpoint."""
        self._drops += 1
        self._kept.pop(session_id, None)

    def _drop_stale(self) -> None:
        if self._foreign_changes != self._store.foreign_changes:
            self._foreign_changes = self._store.foreign_changes
            self._kept.clear()

    def _trim(self, in_use: SessionID) -> None:
        total = sum(history.size for history in self._kept.values())
        for session_id, history in list(self._kept.items()):
            if total <= self._max_bytes:
                return
            if session_id != in_use:
                total -= history.size
                del self._kept[session_id]


def _size(message: Message) -> int:
    """Return roughly how many bytes a decoded message holds, its conversions included."""
    size = 1000
    for part in message.parts:
        match part:
            case TextPart(data):
                size += 3 * len(data.text)
            case ReasoningPart(data):
                size += 3 * len(data.thinking)
            case ToolCallPart(data):
                size += 3 * len(data.input)
            case ToolResultPart(data):
                size += 3 * (len(data.content) + len(data.data))
            case BinaryPart(data):
                size += 4 * len(data.data or b"")
            case _:
                pass
    return size
