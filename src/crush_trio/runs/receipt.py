"""What a cancel or a clear covered, as it stands while its runs settle."""

from __future__ import annotations

import attrs
import trio

from crush_trio.runs.run import Run
from crush_trio.wire.runs import CancelReceipt, CoveredRun


@attrs.frozen(eq=False)
class Receipt:
    """What a cancel covered (R15).

    Attributes:
        runs: Those that are named.
        quiet: Those that are only waited for (wire contract 0, R-44).
    """

    runs: tuple[Run, ...]
    quiet: tuple[Run, ...] = ()

    def snapshot(self) -> CancelReceipt:
        """Return the receipt as it stands now. Not a checkpoint."""
        lines = tuple(CoveredRun(run.id, run.outcome if run.settled else None) for run in self.runs)
        settled = all(run.settled for run in (*self.runs, *self.quiet))
        return CancelReceipt(lines, settled=settled)

    async def wait_settled(self) -> None:
        """Wait until every covered run has settled."""
        for run in (*self.runs, *self.quiet):
            await run.finished.wait()
        await trio.lowlevel.checkpoint()
