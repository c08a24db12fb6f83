"""How runs ended, kept for a while, so that a caller that lost its connection can ask again (R16).

Known in memory only, not across a restart. A kept ending holds no turn, no nursery and no
attachment: only what an answer needs.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from crush_trio.ids import RunID, SessionID
from crush_trio.wire.runs import Outcome


@attrs.frozen
class Ending:
    """How one run ended, for whoever waits for it or asks again.

    Attributes:
        fingerprint: Of the prompt, to tell the same prompt from another one.
        error: The text of what failed it, or of what was raised beside a cancel; else empty.
        message_id: The last assistant message; empty if the run has none.
        folded_into: The run whose turn the prompt joined; empty if it had its own.
        status: The HTTP status that tells the truth about a failure.
    """

    run_id: RunID
    session_id: SessionID
    fingerprint: bytes
    outcome: Outcome
    error: str = ""
    message_id: str = ""
    text: str = ""
    folded_into: str = ""
    status: int = 500


class Results:
    """The endings of the last while, over all sessions of a data directory.

    Args:
        kept: Seconds that an ending is remembered.
    """

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._by_age: deque[tuple[float, Ending]] = deque()
        self._by_id: dict[tuple[SessionID, RunID], Ending] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    def keep(self, ending: Ending) -> None:
        """Remember an ending from now on. Not a checkpoint."""
        self._forget()
        self._by_age.append((trio.current_time(), ending))
        self._by_id[ending.session_id, ending.run_id] = ending

    def find(self, session_id: SessionID, run_id: RunID) -> Ending | None:
        """Return the ending of a run that settled within the kept time. Not a checkpoint."""
        self._forget()
        return self._by_id.get((session_id, run_id))

    def _forget(self) -> None:
        oldest = trio.current_time() - self._kept
        while self._by_age and self._by_age[0][0] < oldest:
            _, ending = self._by_age.popleft()
            self._by_id.pop((ending.session_id, ending.run_id), None)
