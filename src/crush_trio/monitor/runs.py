"""Checks on runs: settled once (R1), cancels that take hold (R4, R5), order (R12), answers (R14)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from crush_trio.monitor.ledger import Bounded, Ledger
from crush_trio.observer import Observed
from crush_trio.wire.runs import Outcome

SETTLED_KEPT = 1024
"""Settled runs that are remembered, for a second end of theirs or a caller who is answered late."""


@attrs.define(eq=False)
class RunRecord:
    """What is known of one run.

    Attributes:
        number: How many runs were accepted before it, and hubs opened.
        quiet: It is nobody's prompt, and owes no terminal event.
        begun: It became its lane's active run.
        unwound: Its turn is not at work any more.
        covered: A cancel, a clear or the end of its workspace has taken hold of it.
        unstored: Its end could not be stored, so what is stored says nothing.
        into: The run whose turn it has joined.
        parted: It has left such a turn, to end without it.
        told: How many ends of it each hub has published.
        message_id: Of its last message, as its published end names it; None if there was none.
        text: As its published end has it.
    """

    id: str
    session_id: str
    owner: object
    lane: object
    number: int
    own_turn: bool
    quiet: bool = False
    begun: bool = False
    unwound: bool = False
    covered: bool = False
    unstored: bool = False
    out: bool = False
    outcome: Outcome | None = None
    settled: bool = False
    into: RunRecord | None = None
    parted: bool = False
    told: dict[object, int] = attrs.field(factory=dict[object, int])
    message_id: str | None = None
    text: str = ""

    def __str__(self) -> str:
        return f"run {self.id} of session {self.session_id}, {self.outcome or 'not concluded'}"

    def let_go(self) -> None:
        """Keep no hub, no lane and no workspace alive."""
        self.told.clear()
        self.owner = self.lane = None

    @property
    def has_end(self) -> bool:
        """Whether it owes a terminal event of its own (R12)."""
        return self.into is None and not self.parted and not self.quiet


class RunChecks:
    """Follows every run from its acceptance to its settlement.

    Args:
        ledger: Takes the violations.
        hub_of: Returns the hub of a run's owner, if that is an open workspace.
    """

    def __init__(
        self, ledger: Ledger, hub_of: Callable[[object], object | None] = lambda _: None
    ) -> None:
        self._ledger = ledger
        self.hub_of = hub_of
        self._number = 0
        self._open: dict[Observed, RunRecord] = {}
        self._by_id: dict[tuple[str, str], RunRecord] = {}
        self._lanes: dict[object, dict[Observed, RunRecord]] = {}
        self._of_session: dict[str, list[object]] = {}
        self._settled: Bounded[tuple[str, str], RunRecord] = Bounded(SETTLED_KEPT)
        self._latest: RunRecord | None = None

    # --- what others ask ----------------------------------------------------------------

    def next_number(self) -> int:
        """Return a number that is higher than those of before."""
        self._number += 1
        return self._number

    def active(self, session_id: str, hub: object = None) -> RunRecord | None:
        """Return the session's run that is at work; None if it cannot be told.

        A data directory that was copied with its project has the same sessions as the first one.
        Then the run is that of a workspace which tells of it in ``hub``.
        """
        heads = [next(iter(self._lanes[each].values())) for each in self.lanes(session_id)]
        if len(heads) > 1:
            heads = [head for head in heads if self.hub_of(head.owner) is hub is not None]
        return heads[0] if len(heads) == 1 and heads[0].begun else None

    def lanes(self, session_id: str) -> list[object]:
        """Return the lanes of a session that have runs; more than one if there are copies of it."""
        return self._of_session.get(session_id, [])

    def find(self, session_id: str, run_id: str) -> tuple[RunRecord | None, bool]:
        """Return a run, and whether it has settled."""
        key = (session_id, run_id)
        if (record := self._by_id.get(key)) is not None:
            return record, False
        return self._settled.get(key), True

    def record(self, run: Observed) -> RunRecord | None:
        """Return the record of a run that has not settled."""
        return self._open.get(run)

    def latest(self) -> RunRecord | None:
        """Return the run that was accepted last."""
        return self._latest

    def unsettled(self, owner: object = None) -> list[RunRecord]:
        """Return the runs that have not settled, of one owner or of all."""
        return [each for each in self._open.values() if owner is None or each.owner is owner]

    # --- from acceptance to the turn -------------------------------------------------------

    def accepted(self, lane: object, run: Observed) -> None:
        """Begin a record."""
        if run in self._open:
            self._ledger.violated("R1", "a run was accepted twice", self._open[run])
            return
        record = RunRecord(
            run.id, run.session_id, run.owner, lane, self.next_number(), run.own_turn, run.quiet
        )
        key = (record.session_id, record.id)
        if key in self._by_id:
            self._ledger.violated("R1", "two open runs have the same id", record)
        self._settled.pop(key, None)
        self._open[run] = self._by_id[key] = self._latest = record
        if lane not in self._lanes:
            self._lanes[lane] = {}
            self._of_session.setdefault(record.session_id, []).append(lane)
        self._lanes[lane][run] = record

    def started(self, run: Observed) -> None:
        """Check that it is this run's turn."""
        if (record := self._open.get(run)) is None:
            self._ledger.violated("R12", "a run started that is not open", run.id)
            return
        first = next(iter(self._lanes[record.lane].values()))
        if first is not record:
            what = "another one was at work" if first.begun else "another one came before"
            self._ledger.violated("R12", f"a run started while {what}", record, "but", first)
        record.begun = True

    def folded(self, run: Observed, into: Observed) -> None:
        """Check that a prompt may join the turn that it joins."""
        record, turn = self._open.get(run), self._open.get(into)
        if record is None or turn is None:
            self._ledger.violated("R12", "a prompt folded that is not open", run.id, into.id)
            return
        if record.own_turn:
            self._ledger.violated("R12", "a prompt with a run id of its own folded", record)
        head = next(iter(self._lanes[record.lane].values()))
        if turn is not head or not head.begun or turn.covered or turn.outcome is not None:
            self._ledger.violated("R12", "a prompt joined a turn that ends", record, "into", turn)
        record.into = turn

    # --- cancels -----------------------------------------------------------------------------

    def cancelled(
        self, lane: object, covered: Sequence[Observed], spared: Sequence[Observed]
    ) -> None:
        """Check that a cancel covers exactly the runs that have not concluded."""
        expected = {run for run, record in self._in(lane) if record.outcome is None}
        self._compare("R5", "a cancel", expected, (*covered, *spared))
        for run in covered:
            record = self._open.get(run)
            if record is None:
                continue
            record.covered = True
        for run in covered:
            record = self._open.get(run)
            if record is not None and record.into is not None and not record.into.covered:
                record.into, record.parted = None, True

    def cleared(self, lane: object, runs: Sequence[Observed]) -> None:
        """Check that a clear covers exactly the runs that wait."""
        behind = self._in(lane)[1:]
        expected = {run for run, record in behind if record.into is None}
        self._compare("R5", "a clear", expected, runs)
        for run in runs:
            if (record := self._open.get(run)) is not None:
                record.covered = True

    def torn_down(self, run: Observed) -> None:
        """Take note of a cancel from outside."""
        if (record := self._open.get(run)) is not None:
            record.covered = True

    def _in(self, lane: object) -> list[tuple[Observed, RunRecord]]:
        return list(self._lanes.get(lane, {}).items())

    def _compare(
        self, promise: str, what: str, expected: set[Observed], found: Iterable[Observed]
    ) -> None:
        found = set(found)
        for run in expected - found:
            self._ledger.violated(promise, f"{what} missed a run", self._open[run])
        for run in found - expected:
            known = self._open.get(run)
            self._ledger.violated(
                promise, f"{what} covered a run that had ended", known or f"run {run.id}"
            )

    # --- the end --------------------------------------------------------------------------------

    def unwound(self, run: Observed) -> None:
        """Take note that a turn is over."""
        if (record := self._open.get(run)) is not None:
            record.unwound = True

    def concluded(self, run: Observed) -> None:
        """Check that an outcome is fixed once, and is that of a cancel that came before."""
        record = self._open.get(run)
        if record is None or record.outcome is not None:
            self._ledger.violated("R1", "a run concluded twice", record or f"run {run.id}")
            return
        record.outcome = run.outcome
        self._check_cover(record)
        for _, joined in self._in(record.lane):
            if joined.into is record and joined.outcome is None:
                joined.outcome = record.outcome

    def _check_cover(self, record: RunRecord) -> None:
        if record.covered and record.outcome != "cancelled":
            self._ledger.violated("R5", "a covered run did not end as cancelled", record)
        if record.outcome == "cancelled" and not record.covered:
            self._ledger.violated("R5", "a run was cancelled by nobody", record)

    def unstored(self, run: Observed) -> None:
        """Take note that the end of a run could not be stored."""
        if (record := self._open.get(run)) is not None:
            record.unstored = True

    def left(self, run: Observed) -> None:
        """Take note that a run is not in its lane any more."""
        if (record := self._open.get(run)) is not None:
            record.out = True

    def settled(self, run: Observed) -> RunRecord | None:
        """Check the end of a run and close its record; None if it had none."""
        record = self._open.pop(run, None)
        if record is None:
            self._ledger.violated("R1", "a run settled that was not open", run.id)
            return None
        self._check_outcome(record, run)
        record.outcome, record.settled = run.outcome, True
        key = (record.session_id, record.id)
        if self._by_id.get(key) is record:
            del self._by_id[key]
        self._settled[key] = record
        lane = self._lanes[record.lane]
        del lane[run]
        if not lane:
            del self._lanes[record.lane]
            self._of_session[record.session_id].remove(record.lane)
            if not self._of_session[record.session_id]:
                del self._of_session[record.session_id]
        return record

    def _check_outcome(self, record: RunRecord, run: Observed) -> None:
        turn = record.into or record
        if run.outcome is None or record.outcome is None:
            self._ledger.violated("R1", "a run settled without an outcome", record)
        elif run.outcome != record.outcome and not (
            turn.unstored and (record.outcome, run.outcome) == ("completed", "failed")
        ):
            self._ledger.violated("R1", f"a run's outcome became {run.outcome}", record)
        if record.begun and not record.unwound:
            self._ledger.violated("R12", "a run settled while its turn was at work", record)
