"""A summary that stands for the conversation before it (agent contract 1.15).

Above it are the turn, which makes one when its model's window fills up, and the lane, for which
:class:`SummaryTurn` is the turn of a quiet run; below it the draft and the provider. However it ends,
what is stored is well formed: the summary is in use, or marked as failed, or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import attrs
import trio

from crush_trio.agent.collect import Collected, collect
from crush_trio.agent.draft import Draft
from crush_trio.agent.gear import Gear, Workbench
from crush_trio.agent.histories import History
from crush_trio.agent.history import model_messages
from crush_trio.agent.system import template
from crush_trio.agent.usage import cost
from crush_trio.errors import CrushTrioError, ProviderError, SessionNotFoundError, error_text
from crush_trio.ids import MessageID, SessionID, new_id
from crush_trio.messages import Message, Prompt, encodable
from crush_trio.providers.base import ModelMessage, ModelRequest
from crush_trio.store import Job
from crush_trio.wire.events import Event
from crush_trio.wire.runs import Outcome
from crush_trio.wire.sessions import Session, Todo

LARGE_WINDOW, LARGE_RESERVE = 200_000, 20_000
"""A window of more tokens than the first is nearly full when only the second are left (agent 1.15)."""

RESERVE = 0.2
"""A smaller window is nearly full when only this part of it is left (agent contract 1.15)."""

INSTRUCTION = "Write a detailed summary of our conversation so far."


def is_nearly_full(window: int, used: int) -> bool:
    """Whether a context of ``used`` tokens leaves too little of a window; 0 means unknown. Pure."""
    if window <= 0:
        return False
    reserve = LARGE_RESERVE if window > LARGE_WINDOW else RESERVE * window
    return window - used <= reserve


def continuation(prompt: str) -> str:
    """Return what the model is told when its work goes on after a summary (wire contract 6.8)."""
    return (
        "The previous session was interrupted because it got too long, "
        f"the initial user request was: `{prompt}`"
    )


class Summary:
    """One summary being written. It appears in the history at once.

    Args:
        bench: What all turns of the workspace share.
        gear: The model that writes it.
        session: As it is stored now.
        history: The conversation.
    """

    def __init__(self, bench: Workbench, gear: Gear, session: Session, history: History) -> None:
        self._bench = bench
        self._gear = gear
        self._session = session
        self._history = history
        self._collected = Collected()
        self._request = self._make_request()
        selected, now = gear.chosen.selected, history.time(bench.now())
        message = Message(
            MessageID(new_id()),
            SessionID(session.id),
            "assistant",
            model=selected.model,
            provider=selected.provider,
            created_at=now,
            updated_at=now,
            is_summary_message=True,
        )
        history.append(message)
        self.draft = Draft(bench.store, message, bench.settings, bench.now)

    def _make_request(self) -> ModelRequest:
        gear, session = self._gear, self._session
        conversation = model_messages(
            self._history.messages,
            self._history.memo,
            summary_id=session.summary_message_id,
            images=gear.chosen.model.supports_attachments,
            inside=gear.pictures_inside,
        )
        system = ModelMessage("system", text=template("summary"))
        asked = ModelMessage("user", text=instruction(session.todos or ()))
        return ModelRequest(
            model=gear.model_id,
            messages=[*gear.prefix, system, *conversation, asked],
            options=gear.options,
            session_key=session.id,
        )

    async def write(self) -> None:
        """Let the model write it.

        Raises:
            ProviderError: the model failed, or wrote nothing.
            StoreError: what was written could not be stored (C2).
        """
        await self.draft.wait_stored()
        await collect(self._gear.provider, self._request, self.draft, self._collected)
        if self.draft.calls or not self.draft.text.strip():
            self.draft.retract()
            raise ProviderError("the model wrote no summary")
        await self.draft.wait_stored()

    async def close(self) -> None:
        """Store its finish part. Always a checkpoint.

        Raises:
            StoreError: it could not be stored, so it cannot be used.
        """
        self.draft.finish("end_turn")
        self._history.replace(self.draft.message)
        await self.draft.wait_stored()

    def use(self) -> Job[Session]:
        """Let it stand for the conversation from now on. Not a checkpoint."""
        usage, gear = self._collected.usage, self._gear
        return self._bench.store.set_summary(
            SessionID(self._session.id),
            MessageID(self.draft.id),
            completion_tokens=usage.output,
            cost=cost(usage, gear.chosen.model, flat_rate=gear.flat_rate),
        )

    def discard(self) -> Job[None]:
        """Take it out again: it was cancelled. Not a checkpoint."""
        self._history.remove(self.draft.id)
        return self._bench.store.delete_message(MessageID(self.draft.id))

    def fail(self, error: BaseException | None) -> Job[None]:
        """Mark it as failed, so that no client waits for the rest of it. Not a checkpoint."""
        self.draft.close_parts()
        details = "" if error is None else encodable(error_text(error))
        job = self.draft.finish("error", "Summarization Error", details)
        self._history.replace(self.draft.message)
        return job


def instruction(todos: Sequence[Todo]) -> str:
    """Return what the model is asked for; the list of todos would be lost with the conversation."""
    if not todos:
        return INSTRUCTION
    lines = "\n".join(f"- [{todo.status}] {todo.content}" for todo in todos)
    return (
        f"{INSTRUCTION}\n\n## Current Todo List\n\n{lines}\n\n"
        "Carry this list over into the summary with its states, and say that it is to be restored "
        "with the `todos` tool."
    )


class SummaryRun(Protocol):
    """What a summary reads of its run."""

    outcome: Outcome | None
    error: Exception | None
    let_go: Callable[[], None]


@attrs.define(eq=False)
class SummaryTurn:
    """The turn of a quiet run that summarises a session. Implements the lane's ``Turn``."""

    session_id: SessionID
    bench: Workbench
    _summary: Summary | None = attrs.field(default=None, init=False)

    async def play(self, run: SummaryRun) -> None:  # noqa: ARG002 -- the lane's seam has it
        """Write the summary, up to but without its finish part; nothing for an empty session.

        Raises:
            SessionNotFoundError: the session does not exist.
            CrushTrioError: whatever fails the summary.
        """
        found = await self.bench.histories.load(self.session_id)
        if found is None:
            raise SessionNotFoundError
        session, history = found
        if history.messages:
            gear = await self.bench.equip(Prompt(""))
            self._summary = Summary(self.bench, gear, session, history)
            await self._summary.write()

    async def finish(self, run: SummaryRun) -> None:
        """Use the summary, take it out, or mark it as failed. Called shielded, with a bound.

        The session is idle before the last event of it goes out: no later one will tell.

        Raises:
            StoreError: the end could not be stored (C2).
        """
        if self._summary is None:
            return
        job: Job[Session] | Job[None]
        is_stored = False
        try:
            match run.outcome:
                case "completed":
                    await self._summary.close()
                    job = self._summary.use()
                case "cancelled":
                    job = self._summary.discard()
                case _:
                    job = self._summary.fail(run.error)
            job.before_event(run.let_go)
            await job.wait()
            is_stored = True
        except CrushTrioError as error:
            with suppress(CrushTrioError):  # once more: a disk may have failed for a moment (R9)
                await self._summary.fail(error).wait()
            raise
        finally:
            if not is_stored:  # then what is kept is not what is there
                self.bench.histories.drop(self.session_id)

    def farewell(self, run: SummaryRun) -> list[Event]:  # noqa: ARG002 -- the lane's seam has it
        """Return nothing: a summary has no terminal event (wire contract 6.8)."""
        return []

    async def flush(self) -> None:
        """Store and publish the text so far. Always a checkpoint."""
        if self._summary is not None:
            await self._summary.draft.flush()
        else:
            await trio.lowlevel.checkpoint()
