"""The monitor as a whole: one observer that hands what it hears to the checks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

from crush_trio.monitor.callers import CallerChecks
from crush_trio.monitor.ledger import Ledger, Violation
from crush_trio.monitor.messages import MessageChecks
from crush_trio.monitor.people import PeopleChecks
from crush_trio.monitor.places import PlaceChecks
from crush_trio.monitor.runs import RunChecks
from crush_trio.monitor.streams import StreamChecks
from crush_trio.observer import Observed, ObservedHub, Observer
from crush_trio.wire.events import (
    Event,
    PermissionNotification,
    QuestionNotification,
    RunComplete,
)
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import GrantAction, PermissionRequest
from crush_trio.wire.questions import QuestionRequest

logger = logging.getLogger(__name__)

P = ParamSpec("P")


def _contained(
    method: Callable[Concatenate[Monitor, P], None],
) -> Callable[Concatenate[Monitor, P], None]:
    """Keep an error of the monitor's own out of the program that it watches."""

    @wraps(method)
    def call(self: Monitor, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  its own boundary: the program goes on unwatched
            self.fault(method.__name__, error)

    return call


class Monitor(Observer):
    """Checks R1, R4, R5, R8, R9, R12, R14, S1 to S5, D1, D3, W1 and W5 as things happen.

    Give one to :class:`crush_trio.workspaces.Equipment` as its observer, and look at
    :attr:`violations` whenever you like::

        monitor = Monitor()
        equipment = Equipment(open_provider, observer=monitor)
        ...
        assert monitor.violations == ()

    It never raises, awaits or changes what it sees. What it does for an event costs the same
    however long the program has run, and it forgets what has settled.

    Args:
        report: Called with each violation and the last happenings before it, oldest first.
    """

    def __init__(self, report: Callable[[Violation, Sequence[str]], None] | None = None) -> None:
        self._ledger = Ledger(report)
        self._runs = RunChecks(self._ledger)
        self._callers = CallerChecks(self._ledger, self._runs)
        self._messages = MessageChecks(self._ledger, self._runs)
        self._streams = StreamChecks(self._ledger)
        self._people = PeopleChecks(self._ledger, self._runs)
        self._places = PlaceChecks(self._ledger, self._runs)
        self._runs.hub_of = self._places.hub
        self.faults = 0
        """Errors of the monitor itself; none unless it has a defect."""

    def __repr__(self) -> str:
        return f"<Monitor {self.count} violations in {self.happenings} happenings>"

    # --- what it has found ---------------------------------------------------------------

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was found, oldest first; not more than the first thousand."""
        return tuple(self._ledger.violations)

    @property
    def count(self) -> int:
        """How many violations there were."""
        return self._ledger.count

    @property
    def happenings(self) -> int:
        """How many things were heard."""
        return self._ledger.noted

    def recent(self) -> list[str]:
        """Return the last happenings in words, oldest first."""
        return self._ledger.recent()

    def fault(self, where: str, error: Exception) -> None:
        """Take note of an error of the monitor itself, of which only the first one is logged."""
        self.faults += 1
        if self.faults == 1:
            text = "the monitor failed in %s; what it watches is not affected"
            logger.error(text, where, exc_info=error)

    # --- the hub ----------------------------------------------------------------------------

    @_contained
    def published(self, hub: ObservedHub, number: int, event: Event) -> None:
        """Check an event."""
        payload = event.payload
        identity = getattr(payload, "id", None) or getattr(payload, "run_id", "")
        self._ledger.note("published", number, event.type, event.change, identity)
        self._streams.published(hub, number, event)
        match payload:
            case WireMessage():
                self._messages.message(hub, event, payload)
            case RunComplete():
                self._messages.completed(hub, payload)
            case PermissionNotification():
                self._people.notified(payload)
            case QuestionRequest():
                self._people.questioned(payload)
            case QuestionNotification():
                self._people.question_over(payload.batch_id)
            case _:
                pass

    @_contained
    def attached(
        self, reader: object, hub: ObservedHub, cursor: int, *, numbered: bool, deltas: bool
    ) -> None:
        """Follow a reader."""
        self._ledger.note("attached", "behind", cursor)
        self._streams.attached(reader, hub, cursor, numbered=numbered, deltas=deltas)

    @_contained
    def delivered(self, reader: object, upto: int, what: bytes | Sequence[Event]) -> None:
        """Check what a reader is told."""
        self._streams.delivered(reader, upto, what)

    @_contained
    def refused(self, reader: object) -> None:
        """Check the end of a stream."""
        self._ledger.note("refused")
        self._streams.refused(reader)

    @_contained
    def detached(self, reader: object) -> None:
        """Forget a reader."""
        self._ledger.note("detached")
        self._streams.detached(reader)

    @_contained
    def hub_closed(self, hub: ObservedHub) -> None:
        """Forget a hub."""
        self._ledger.note("hub closed")
        self._streams.hub_closed(hub)
        self._messages.hub_closed(hub)

    # --- the lane ------------------------------------------------------------------------------

    @_contained
    def accepted(self, lane: object, run: Observed) -> None:
        """Follow a run."""
        self._ledger.note("accepted", run.id, "in", run.session_id)
        self._runs.accepted(lane, run)

    @_contained
    def started(self, run: Observed) -> None:
        """Check the start of a run."""
        self._ledger.note("started", run.id)
        self._runs.started(run)

    @_contained
    def folded(self, run: Observed, into: Observed) -> None:
        """Check a prompt that joins a turn."""
        self._ledger.note("folded", run.id, "into", into.id)
        self._runs.folded(run, into)

    @_contained
    def cancelled(
        self, lane: object, covered: Sequence[Observed], spared: Sequence[Observed]
    ) -> None:
        """Check what a cancel covers."""
        self._ledger.note("cancelled", *(run.id for run in covered))
        self._runs.cancelled(lane, covered, spared)

    @_contained
    def cleared(self, lane: object, runs: Sequence[Observed]) -> None:
        """Check what a clear covers."""
        self._ledger.note("cleared", *(run.id for run in runs))
        self._runs.cleared(lane, runs)

    @_contained
    def torn_down(self, run: Observed) -> None:
        """Take note of a cancel from outside."""
        self._ledger.note("torn down", run.id)
        self._runs.torn_down(run)

    @_contained
    def unwound(self, run: Observed) -> None:
        """Take note that a turn is over."""
        self._ledger.note("unwound", run.id)
        self._runs.unwound(run)

    @_contained
    def concluded(self, run: Observed) -> None:
        """Check an outcome."""
        self._ledger.note("concluded", run.id, run.outcome)
        self._runs.concluded(run)

    @_contained
    def unstored(self, run: Observed) -> None:
        """Take note that a run's end is not stored."""
        self._ledger.note("unstored", run.id)
        self._runs.unstored(run)

    @_contained
    def left(self, run: Observed) -> None:
        """Take note that a run is not in its lane any more."""
        self._ledger.note("left", run.id)
        self._runs.left(run)

    @_contained
    def settled(self, run: Observed) -> None:
        """Check all that a run has left behind."""
        self._ledger.note("settled", run.id, run.outcome)
        record = self._runs.settled(run)
        if record is not None:
            self._messages.settled(record, self._places.hub(record.owner))
            self._people.settled(record)
            record.let_go()

    # --- callers ---------------------------------------------------------------------------------

    @_contained
    def post_begun(self, post: object, session_id: str, run_id: str, wanted_id: str) -> None:
        """Follow a caller."""
        self._ledger.note("post", "for", run_id)
        self._callers.begun(post, session_id, run_id, wanted_id)

    @_contained
    def post_answered(self, post: object, status: int, body: object) -> None:
        """Check an answer."""
        self._ledger.note("answered", status, getattr(body, "run_id", ""))
        self._callers.answered(post, status, body)

    @_contained
    def post_left(self, post: object) -> None:
        """Forget a caller."""
        self._callers.left(post)

    # --- people ------------------------------------------------------------------------------------

    @_contained
    def asked(self, gate: object, request: PermissionRequest) -> None:
        """Check a request."""
        self._ledger.note("asked", request.id, "for", request.tool_call_id)
        self._people.asked(gate, request)

    @_contained
    def answered(self, gate: object, request_id: str, action: GrantAction, *, won: bool) -> None:
        """Check an answer to a request."""
        self._ledger.note(action, request_id, "counts" if won else "is late")
        self._people.answered(gate, request_id, action, won=won)

    @_contained
    def resolved(self, gate: object, request: PermissionRequest, *, granted: bool | None) -> None:
        """Check what whoever asked is told."""
        self._ledger.note("resolved", request.id, granted)
        self._people.resolved(gate, request, granted=granted)

    @_contained
    def recalled(self, gate: object, key: tuple[str, str, str, str]) -> None:
        """Check a grant that nobody was asked for."""
        self._ledger.note("recalled", *key[:3])
        self._people.recalled(gate, key)

    # --- workspaces -------------------------------------------------------------------------------

    @_contained
    def workspace_opened(self, workspace: object, directory: Path, hub: ObservedHub) -> None:
        """Follow a workspace."""
        self._ledger.note("opened", directory)
        self._messages.hub_opened(hub)
        self._places.opened(workspace, directory, hub)

    @_contained
    def workspace_withdrawn(self, workspace: object) -> None:
        """Take note that a workspace is closing."""
        self._ledger.note("withdrawn", self._places.directory(workspace))

    @_contained
    def workspace_closed(self, workspace: object, left: int) -> None:
        """Check the end of a workspace."""
        self._ledger.note("closed", left, "left")
        self._places.closed(workspace, left)
