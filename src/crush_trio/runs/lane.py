"""A session's lane: its runs in the order in which they were accepted, one at a time.

This is where a run is cancelled. Everything that changes a lane is a sync method, and that is the
whole of the locking: between two checkpoints nothing else runs. There is no accept counter, no
cancel mark and no sequence number; what was accepted before a cancel is in the lane when the
cancel looks, and what comes later is not (R5, R6).

Above it are the workspaces, which lend each run a nursery; below it only the run and the table of
its states. A lane has no task of its own: each run is a task in the nursery of *its* workspace,
started when it reaches the head, so that two workspaces that share a session's store can share its
lane without owning each other's runs.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec
import trio

from crush_trio.errors import CrushTrioError, RunIDConflictError, error_text, sole
from crush_trio.ids import SessionID
from crush_trio.observer import SILENT, Observer
from crush_trio.runs.receipt import Receipt
from crush_trio.runs.results import Ending, Results
from crush_trio.runs.run import Run
from crush_trio.runs.states import State
from crush_trio.settings import Settings
from crush_trio.wire.events import Event, RunComplete, run_complete_event

logger = logging.getLogger(__name__)

CANCELLED_TEXT = "context canceled"
"""The error text of a cancelled run's ``run_complete``, as Crush has it (wire contract 6.5)."""


class Lane:
    """The prompts of one session.

    Args:
        session_id: Whose lane it is.
        publish: Sync; gets the terminal events.
        results: Where endings are kept; shared by the lanes of a data directory.
        settings: How long a finish may take.
        observer: Hears of each step of each run.
    """

    def __init__(
        self,
        session_id: SessionID,
        publish: Callable[[Event], None],
        results: Results,
        settings: Settings,
        observer: Observer = SILENT,
    ) -> None:
        self.session_id = session_id
        self._observer = observer
        self._publish = publish
        self._results = results
        self._settings = settings
        self._runs: deque[Run] = deque()  # [0] is the active run, the rest wait

    def __repr__(self) -> str:
        return f"<Lane {self.session_id} {[run.state.value for run in self._runs]}>"

    # --- what a lane tells -------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a run of this session has not settled."""
        return bool(self._runs)

    @property
    def active(self) -> Run | None:
        """The run at the head."""
        return self._runs[0] if self._runs else None

    @property
    def waiting(self) -> tuple[Run, ...]:
        """The runs behind the head, in order."""
        return tuple(self._runs)[1:]

    def _unsettled(self) -> list[Run]:
        """Every accepted run that has not settled, folded prompts behind the run they joined."""
        return [each for run in self._runs for each in (run, *run.folded)]

    # --- accepting ---------------------------------------------------------------

    def accept(self, run: Run) -> Run | Ending:
        """Take a prompt, or join the run that has its id already (R16). Not a checkpoint.

        Returns what the caller's prompt belongs to: a run to wait for, or the ending of one that
        has settled.

        Raises:
            RunIDConflictError: the id belongs to another prompt.
        """
        if run.own_turn and (known := self._known(run)) is not None:
            return known
        self._runs.append(run)
        run.let_go = partial(self._let_go, run)
        self._observer.accepted(self, run)
        run.owner.run_accepted(run)
        if len(self._runs) == 1:
            self._start_head()
        return run

    def _known(self, run: Run) -> Run | Ending | None:
        """Return the run, or the ending of the run, that has the id of ``run``."""
        active = next((known for known in self._unsettled() if known.id == run.id), None)
        known = active or self._results.find(self.session_id, run.id)
        if known is None:
            return None
        fingerprint = known.prompt.fingerprint if isinstance(known, Run) else known.fingerprint
        if fingerprint != run.prompt.fingerprint:
            raise RunIDConflictError
        return known

    def fold(self) -> list[Run]:
        """Let waiting prompts without a run id join the active turn, and return them (R12).

        Called by the turn at the beginning of each step. Not a checkpoint. A turn that is being
        cancelled takes nobody with it: what waits then was accepted after the cancel (R6). Nor
        does it take the prompt of another workspace, whose working directory, configuration and
        dialogs are not this turn's, and which must not end with this turn's workspace (R3).
        """
        active = self.active
        if active is None or active.concluded or active.cancelled_by is not None:
            return []
        joining = [run for run in self.waiting if not run.own_turn and run.owner is active.owner]
        for run in joining:
            self._runs.remove(run)
            run.fold_into(active)
            self._observer.folded(run, active)
        return joining

    # --- ending early --------------------------------------------------------------

    def cancel(self, reason: str, covers: Callable[[Run], bool] = lambda _: True) -> Receipt:
        """Cancel every accepted run that has not concluded. Not a checkpoint (R5).

        The head unwinds and settles by itself, also when it has not begun; those behind it have
        nothing to unwind and settle here. ``covers`` narrows the cancel, for a workspace that
        closes while its neighbour's runs go on.
        """
        found = [run for run in self._unsettled() if not run.concluded]
        covered = [run for run in found if covers(run)]
        spared = [run for run in found if run not in covered]
        self._observer.cancelled(self, covered, spared)
        for run in covered:
            run.cancel(reason)
        for run in covered:
            if run.folded_into is not None and run.folded_into not in covered:
                run.leave_turn()  # which goes on without it
                run.conclude(None)
                self._observer.concluded(run)
                self._observer.left(run)
                self._tell(run)
            elif run.folded_into is None and run is not self.active:
                self._drop(run)
        named = tuple(run for run in covered if not run.quiet)
        return Receipt(named, tuple(run for run in covered if run.quiet))

    def clear(self, reason: str) -> Receipt:
        """Drop the prompts that wait behind the active run; they settle as cancelled. Not a checkpoint."""
        waiting = self.waiting
        self._observer.cleared(self, waiting)
        for run in waiting:
            run.cancel(reason)
            self._drop(run)
        return Receipt(waiting)

    def _drop(self, run: Run) -> None:
        """Settle a run that waited: it stores nothing and has no message."""
        run.conclude(None)
        self._observer.concluded(run)
        self._settle(run)

    # --- executing -------------------------------------------------------------------

    def _start_head(self) -> None:
        head = self._runs[0]
        head.start()
        self._observer.started(head)
        head.owner.nursery.start_soon(self._execute, head, name=f"run {head.id}")

    async def _execute(self, run: Run) -> None:
        """Be one run's task: play its turn, fix its outcome, write its end, settle.

        An error stays in its run (C3). A cancel from outside the run's scope, which is the
        workspace's nursery going down without a goodbye, ends the run as cancelled and passes.
        """
        error: Exception | None = None
        unwound = False
        try:
            try:
                with run.scope:
                    await run.turn.play(run)
            except* (Exception, SystemExit) as group:  # noqa: BLE001 -- the one boundary that keeps it in its run
                error = _sole(group)
            unwound = True
        finally:
            if not unwound:
                self._observer.torn_down(run)
                run.cancel("the workspace was torn down")
            self._observer.unwound(run)
            run.conclude(error)
            self._observer.concluded(run)
            _log_end(run, error)
            try:
                with trio.move_on_after(self._settings.finish_timeout, shield=True) as limit:
                    await self._finish(run)
                if limit.cancelled_caught:
                    self._observer.unstored(run)
                    run.fail_finish(TimeoutError("the end of the run could not be stored in time"))
            finally:
                self._let_go(run)

    async def _finish(self, run: Run) -> None:
        try:
            await run.turn.finish(run)
        except* Exception as group:
            self._observer.unstored(run)
            logger.exception("the end of run %s could not be stored", run.id)
            run.fail_finish(_sole(group))

    def _let_go(self, run: Run) -> None:
        """Settle a run that has concluded, unless it has settled by itself."""
        if not run.settled:
            self._settle(run)

    def _settle(self, run: Run) -> None:
        """End a run, in one step, and start the next one. The only place where a run ends (R1, R8).

        The lane is idle, or has its next run, before anybody can learn of the end. A folded
        prompt settles with its run and has no ``run_complete`` of its own (R12).
        """
        was_head = run is self.active
        self._runs.remove(run)
        self._observer.left(run)
        for event in run.turn.farewell(run) if was_head else ():
            self._publish(event)
        if not run.quiet:
            self._publish(_run_complete(run))
        self._tell(run, *run.folded)

    def _tell(self, *runs: Run) -> None:
        """Wake whoever waits for these runs, start the next one, and let the owners know."""
        for run in runs:
            if not run.quiet:
                self._results.keep(run.ending)
            run.settle()
            self._observer.settled(run)
        if self._runs and self._runs[0].state is State.WAITING:
            self._start_head()
        for run in runs:
            run.owner.run_settled(run)


def _sole(group: BaseExceptionGroup[Exception | SystemExit]) -> Exception:
    error = sole(group)
    return error if isinstance(error, Exception) else RuntimeError(error_text(error))


def _log_end(run: Run, error: Exception | None) -> None:
    """Log what a run raised: foreseen errors in a line, others with their traceback."""
    if error is None:
        return
    trace = None if isinstance(error, CrushTrioError) else error
    if run.cancelled_by is None:
        logger.warning("run %s failed: %s", run.id, error_text(error), exc_info=trace)
    else:
        logger.warning("run %s raised while it was cancelled", run.id, exc_info=error)


def _run_complete(run: Run) -> Event:
    cancelled = run.outcome == "cancelled"
    error = "" if run.error is None else error_text(run.error)
    if cancelled and run.message_id:
        error = error or CANCELLED_TEXT
    return run_complete_event(
        RunComplete(
            run.session_id,
            run.id,
            run.message_id,
            run.text or msgspec.UNSET,
            error or msgspec.UNSET,
            cancelled or msgspec.UNSET,
        )
    )
