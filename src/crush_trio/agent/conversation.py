"""The conversation of one turn: its session, and the messages that it adds to the history.

Above it are the turn and its steps; below it the store. What is added counts as said at once, in the
kept history as well; :meth:`Conversation.wait_stored` tells whether it could be stored.
"""

from __future__ import annotations

from typing import Self

import attrs
import trio

from crush_trio.agent.gear import Workbench
from crush_trio.agent.histories import History
from crush_trio.ids import MessageID, SessionID, new_id
from crush_trio.messages import STOP, BinaryPart, Message, Part, Prompt, Role, Text, TextPart
from crush_trio.store import Job
from crush_trio.wire.sessions import Session


@attrs.define(eq=False)
class Conversation:
    """A session with its history, as one turn goes on with it.

    Attributes:
        session: As the turn knows it; it is stored anew with the usage of each step.
        history: All messages, oldest first.
        said: Whether a prompt has been added.
        jobs: Writes that nobody has waited for yet.
    """

    bench: Workbench
    session_id: SessionID
    session: Session
    history: History
    said: bool = attrs.field(default=False, init=False)
    jobs: list[Job[None]] = attrs.field(factory=list[Job[None]], init=False)

    @classmethod
    async def open(cls, bench: Workbench, session_id: SessionID) -> Self | None:
        """Return the conversation of a session; None if there is no such session.

        Raises:
            StoreError: it cannot be read.
        """
        found = await bench.histories.load(session_id)
        return None if found is None else cls(bench, session_id, *found)

    def say(self, prompt: Prompt) -> None:
        """Add a user message. Not a checkpoint."""
        self.said = True
        parts = (TextPart(Text(prompt.text)), *map(BinaryPart, prompt.attachments), STOP)
        self.add("user", parts)

    def add(self, role: Role, parts: tuple[Part, ...]) -> Job[None]:
        """Add a message that is complete. Not a checkpoint."""
        message = self.new_message(role, parts)
        job = self.bench.store.create_message(message)
        self.history.append(message)
        self.jobs.append(job)
        return job

    def new_message(
        self, role: Role, parts: tuple[Part, ...] = (), model: str = "", provider: str = ""
    ) -> Message:
        """Return a message of now that is not added yet. Not a checkpoint."""
        now = self.history.time(self.bench.now())
        return Message(MessageID(new_id()), self.session_id, role, parts, model, provider, now, now)

    async def wait_stored(self) -> None:
        """Wait for the messages that were added. Always a checkpoint.

        Raises:
            CrushTrioError: one of them could not be stored; whoever waits later is told as well.
        """
        await trio.lowlevel.checkpoint()
        while self.jobs:
            await self.jobs[0].wait()
            del self.jobs[0]
