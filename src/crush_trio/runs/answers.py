"""What a caller is told of a run that has settled."""

from __future__ import annotations

import msgspec

from crush_trio.runs.results import Ending
from crush_trio.wire.runs import RunResult
from crush_trio.wire.workspaces import ErrorBody


def settled_answer(ending: Ending) -> tuple[int, RunResult | ErrorBody]:
    """Return status and body: 200, or an error that says what failed (R7)."""
    if ending.outcome == "failed":
        body = ErrorBody(ending.error, ending.run_id, ending.session_id, ending.message_id)
        return ending.status, body
    return 200, RunResult(
        run_id=ending.run_id,
        session_id=ending.session_id,
        outcome=ending.outcome,
        cancelled=ending.outcome == "cancelled",
        message_id=ending.message_id,
        text=ending.text,
        error=ending.error or msgspec.UNSET,
        folded_into=ending.folded_into or msgspec.UNSET,
    )
