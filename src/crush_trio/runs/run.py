"""One accepted prompt, and everything needed to cancel it or to wait for it.

A run is born with its cancel scope, before it has a task, so that a cancel always has something to
grab. It does not know how a turn is played: :class:`Turn` is the seam to the agent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from crush_trio.errors import CrushTrioError, error_text
from crush_trio.ids import RunID, SessionID
from crush_trio.messages import Prompt
from crush_trio.runs.results import Ending
from crush_trio.runs.states import State, Step, advance
from crush_trio.wire.events import Event
from crush_trio.wire.runs import Outcome


class Owner(Protocol):
    """Whose run it is: the nursery that it lives in, and what must know of its beginning and end."""

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery that owns the run's task (R2)."""
        ...

    def run_accepted(self, run: Run) -> None:
        """Take note of a run that has not settled. Sync."""
        ...

    def run_settled(self, run: Run) -> None:
        """Take note that a run has settled. Sync; the last thing that happens to it."""
        ...


class Turn(Protocol):
    """How a run is carried out. One object serves one run."""

    async def play(self, run: Run) -> None:
        """Do the work, inside the run's scope, up to but without the last finish part.

        An exception other than a cancel means that the run failed.
        """
        ...

    async def finish(self, run: Run) -> None:
        """Write how the run ended. The outcome is fixed; called shielded, with a bound.

        Also called for a head of lane that was cancelled before it started: it then stores the
        user message and a cancelled answer.
        """
        ...

    def farewell(self, run: Run) -> list[Event]:
        """Return what is owed before ``run_complete``: the finished or the error event. Sync."""
        ...

    async def flush(self) -> None:
        """Store and publish what is pending, so that a reader sees all that was said."""
        ...


@attrs.define(eq=False)
class Run:
    """One accepted prompt, from acceptance to settlement.

    Attributes:
        id: The caller's run id, else one of ours.
        own_turn: The caller gave the run id, so this prompt never folds.
        quiet: Nobody's prompt, such as a summary: it holds the lane and can be cancelled, but it is in
            no receipt and has no ``run_complete`` (wire contract 0, R-44).
        scope: Cancelled by :meth:`cancel` only; the run's turn is played inside it.
        cancelled_by: Why it was cancelled; None if it was not.
        outcome: Fixed by :meth:`conclude`; final when ``finished`` is set.
        error: What failed it, or what its unwinding raised beside a cancel.
        message_id: The last assistant message of the run; empty if it has none.
        folded: Prompts that have joined this run's turn and settle with it (R12).
        folded_into: The run whose turn this prompt joined.
        finished: Set when the run has settled.
        let_go: Set by the lane. Settles a run that has concluded, before its task has ended: for a
            quiet one, in the step in which its last event goes out. Sync.
    """

    id: RunID
    session_id: SessionID
    prompt: Prompt
    turn: Turn = attrs.field(repr=False)
    owner: Owner = attrs.field(repr=False)
    own_turn: bool = True
    quiet: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    finished: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)
    state: State = attrs.field(default=State.WAITING, init=False)
    cancelled_by: str | None = attrs.field(default=None, init=False)
    outcome: Outcome | None = attrs.field(default=None, init=False)
    error: Exception | None = attrs.field(default=None, init=False)
    message_id: str = attrs.field(default="", init=False)
    text: str = attrs.field(default="", init=False, repr=False)
    folded: list[Run] = attrs.field(factory=list["Run"], init=False, repr=False)
    folded_into: Run | None = attrs.field(default=None, init=False, repr=False)
    let_go: Callable[[], None] = attrs.field(default=lambda: None, init=False, repr=False)

    @property
    def concluded(self) -> bool:
        """Whether the outcome is fixed, so that no cancel covers this run any more."""
        return self.outcome is not None

    @property
    def settled(self) -> bool:
        """Whether the outcome is final and everybody has been told."""
        return self.state is State.SETTLED

    @property
    def ending(self) -> Ending:
        """How the run ended. Only for a run that has concluded; a folded prompt has its turn's end."""
        turn = self.folded_into or self
        assert turn.outcome is not None
        return Ending(
            self.id,
            self.session_id,
            self.prompt.fingerprint,
            self.outcome or turn.outcome,
            "" if turn.error is None else error_text(turn.error),
            turn.message_id,
            turn.text,
            "" if self.folded_into is None else self.folded_into.id,
            turn.error.status if isinstance(turn.error, CrushTrioError) else 500,
        )

    def start(self) -> None:
        """Become the active run of the lane. Not a checkpoint."""
        self.state = advance(self.state, Step.START)

    def fold_into(self, run: Run) -> None:
        """Join the turn of ``run`` and share its fate. Not a checkpoint."""
        self.state = advance(self.state, Step.FOLD)
        self.folded_into = run
        run.folded.append(self)

    def leave_turn(self) -> None:
        """Part from the turn that this prompt joined, to end without it. Not a checkpoint."""
        assert self.folded_into is not None
        self.folded_into.folded.remove(self)
        self.folded_into = None

    def cancel(self, reason: str) -> None:
        """Ask the run to end as cancelled. Not a checkpoint; the first reason stays.

        Only for a run that has not concluded: :meth:`Lane.cancel` picks those.
        """
        assert not self.concluded
        self.cancelled_by = self.cancelled_by or reason
        self.scope.cancel(reason)

    def conclude(self, error: Exception | None) -> None:
        """Fix the outcome: the point of no return. Not a checkpoint: a cancel is before or after it.

        A run that was cancelled ends as cancelled, whatever its unwinding raised (R4). Prompts
        that joined its turn conclude with it.
        """
        self.state = advance(self.state, Step.CONCLUDE)
        self.error = error
        if self.cancelled_by is not None:
            self.outcome = "cancelled"
        else:
            self.outcome = "completed" if error is None else "failed"
        for joined in self.folded:
            joined.state = advance(joined.state, Step.CONCLUDE)
            joined.outcome = self.outcome

    def fail_finish(self, error: Exception) -> None:
        """Take note that the finish could not be stored: a completed run has failed after all (C2)."""
        self.error = self.error or error
        if self.outcome == "completed":
            self.outcome = "failed"
            for joined in self.folded:
                joined.outcome = "failed"

    def settle(self) -> None:
        """Become final and wake everybody who waits. Not a checkpoint."""
        self.state = advance(self.state, Step.SETTLE)
        self.finished.set()
