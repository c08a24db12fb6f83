"""Checks on callers: 200 for a cancelled run (R4), and each one its own answer (R14)."""

from __future__ import annotations

import attrs
import msgspec

from crush_trio.monitor.ledger import Ledger
from crush_trio.monitor.runs import RunChecks, RunRecord
from crush_trio.wire.runs import RunAccepted, RunResult
from crush_trio.wire.workspaces import ErrorBody


@attrs.frozen(eq=False)
class _Post:
    run_id: str
    record: RunRecord | None


class CallerChecks:
    """Follows every caller who waits for a run."""

    def __init__(self, ledger: Ledger, runs: RunChecks) -> None:
        self._ledger = ledger
        self._runs = runs
        self._posts: dict[object, _Post] = {}

    def begun(self, post: object, session_id: str, run_id: str, wanted_id: str) -> None:
        """Check that a caller waits for the run that it asked for."""
        record, _ = self._runs.find(session_id, run_id)
        if wanted_id and run_id != wanted_id:
            self._ledger.violated("R14", "a caller waits for another run", wanted_id, run_id)
        if not wanted_id and record is not self._runs.latest():
            self._ledger.violated("R14", "a caller waits for a run that is not its own", run_id)
        self._posts[post] = _Post(run_id, record)

    def answered(self, post: object, status: int, body: object) -> None:
        """Check an answer against what was published of the run."""
        found = self._posts.get(post)
        if found is None:
            self._ledger.violated("R14", "a caller was answered who did not wait", status)
            return
        told = "" if body is None else getattr(body, "run_id", "")
        if told not in {"", msgspec.UNSET, found.run_id}:
            self._ledger.violated("R14", "a caller got another's answer", found.run_id, told)
            return
        if found.record is None or body is None or isinstance(body, RunAccepted):
            return
        if not found.record.settled:
            self._ledger.violated("R14", "a caller was answered before the end", found.record)
        elif isinstance(body, RunResult):
            self._check_result(found.record, status, body)
        elif isinstance(body, ErrorBody) and found.record.outcome != "failed":
            promise = "R4" if found.record.outcome == "cancelled" else "R14"
            self._ledger.violated(promise, f"a caller was answered {status}", found.record)

    def _check_result(self, record: RunRecord, status: int, body: RunResult) -> None:
        cancelled = record.outcome == "cancelled"
        if cancelled and (status != 200 or not body.cancelled):
            text = f"a cancelled run was answered {status}, cancelled: {body.cancelled}"
            self._ledger.violated("R4", text, record)
        elif body.outcome != record.outcome or body.cancelled != cancelled:
            self._ledger.violated("R14", f"a caller was told {body.outcome}", record)
        turn = record.into or record
        joined = "" if record.into is None else record.into.id
        if (body.folded_into or "") != joined:
            self._ledger.violated("R14", "a caller was told of another turn", record, joined)
        if turn.message_id is not None and (body.message_id, body.text) != (
            turn.message_id,
            turn.text,
        ):
            self._ledger.violated("R14", "a caller got another text than its run's", record)

    def left(self, post: object) -> None:
        """Forget a caller."""
        self._posts.pop(post, None)
