"""Checks on decisions: the first answer counts, everybody is told (D1), and no cancelled run asks (D3)."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import attrs

from crush_trio.monitor.ledger import Bounded, Ledger
from crush_trio.monitor.runs import RunChecks, RunRecord
from crush_trio.wire.events import PermissionNotification
from crush_trio.wire.permissions import GrantAction, PermissionRequest
from crush_trio.wire.questions import QuestionRequest

DECIDED_KEPT = 256
"""Requests that have ended, and last words on tool calls, that are remembered."""


@attrs.define(eq=False)
class _Gate:
    """What one workspace's gate has asked and been answered."""

    open: dict[str, PermissionRequest] = attrs.field(factory=dict[str, PermissionRequest])
    decided: Bounded[str, bool] = attrs.field(factory=lambda: Bounded[str, bool](DECIDED_KEPT))
    allowed: set[tuple[str, str, str, str]] = attrs.field(factory=set[tuple[str, str, str, str]])


class PeopleChecks:
    """Follows every permission request, and every batch of questions."""

    def __init__(self, ledger: Ledger, runs: RunChecks) -> None:
        self._ledger = ledger
        self._runs = runs
        self._gates: WeakKeyDictionary[object, _Gate] = WeakKeyDictionary()
        self._told: Bounded[str, tuple[bool, bool]] = Bounded(DECIDED_KEPT)
        self._questions: Bounded[str, str] = Bounded(DECIDED_KEPT)
        self._over: Bounded[str, bool] = Bounded(DECIDED_KEPT)

    def _gate(self, gate: object) -> _Gate:
        return self._gates.setdefault(gate, _Gate())

    def notified(self, notification: PermissionNotification) -> None:
        """Take note of what clients are told of a tool call."""
        self._told[notification.tool_call_id] = (notification.granted, notification.denied)

    def questioned(self, request: QuestionRequest) -> None:
        """Check that no cancelled run asks questions."""
        run = self._runs.active(request.session_id)
        if run is not None and run.covered:
            self._ledger.violated("D3", "a cancelled run asks", f"batch {request.id}", run)
        self._questions[request.id] = request.session_id

    def question_over(self, batch_id: str) -> None:
        """Check that a batch of questions is decided, or withdrawn, once."""
        if self._questions.pop(batch_id, None) is None and batch_id in self._over:
            self._ledger.violated("D1", "a batch was decided twice", f"batch {batch_id}")
        self._over[batch_id] = True

    def asked(self, gate: object, request: PermissionRequest) -> None:
        """Check that no cancelled run asks."""
        run = self._runs.active(request.session_id)
        if run is not None and run.covered:
            self._ledger.violated("D3", "a cancelled run asks", f"request {request.id}", run)
        self._gate(gate).open[request.id] = request

    def answered(self, gate: object, request_id: str, action: GrantAction, *, won: bool) -> None:
        """Check that the first answer counts and no other one."""
        state, seen = self._gate(gate), f"request {request_id}"
        request = state.open.get(request_id)
        if not won:
            if request is not None:
                self._ledger.violated("D1", "the first answer did not count", seen)
            return
        if request is None:
            self._ledger.violated("D1", "an answer counted to what was not open", seen)
            return
        del state.open[request_id]
        granted = state.decided[request_id] = action != "deny"
        if action == "allow_session":
            state.allowed.add((request.session_id, request.tool_name, request.action, request.path))
        if not self._is_told(request, granted=granted):
            self._ledger.violated("D1", "not everybody was told of an answer", seen)

    def _is_told(self, request: PermissionRequest, *, granted: bool) -> bool:
        told = self._told.get(request.tool_call_id)
        return told is None or told == (granted, not granted)

    def resolved(self, gate: object, request: PermissionRequest, *, granted: bool | None) -> None:
        """Check that whoever asked is told what was decided, and a withdrawal is published."""
        state, seen = self._gate(gate), f"request {request.id}"
        if granted is None:
            if state.open.pop(request.id, None) is None:
                self._ledger.violated("D1", "a request was withdrawn that had been answered", seen)
            elif not self._is_told(request, granted=False):
                self._ledger.violated("D3", "not everybody was told of a withdrawal", seen)
        elif state.decided.get(request.id) is not granted:
            self._ledger.violated("D1", f"who asked was told {granted}, not what counted", seen)

    def recalled(self, gate: object, key: tuple[str, str, str, str]) -> None:
        """Check that what is remembered was allowed by an answer that counted."""
        if key not in self._gate(gate).allowed:
            text = "a permission is remembered that no answer gave"
            self._ledger.violated("D1", text, f"session {key[0]}", key[1], key[2])

    def settled(self, run: RunRecord) -> None:
        """Check that a run which was cancelled at work has no open request."""
        copies = [lane for lane in self._runs.lanes(run.session_id) if lane is not run.lane]
        if run.outcome != "cancelled" or not run.begun or copies:
            return
        for batch_id, session_id in self._questions.items():
            if session_id == run.session_id:
                seen = (f"batch {batch_id}", run)
                self._ledger.violated("D3", "a cancelled run's questions are open", *seen)
        for state in list(self._gates.values()):
            for request in state.open.values():
                if request.session_id == run.session_id:
                    seen = (f"request {request.id}", run)
                    self._ledger.violated("D3", "a cancelled run's request is open", *seen)
