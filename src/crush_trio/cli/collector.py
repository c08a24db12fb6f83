"""How a server process collects its garbage: little while it starts, seldom afterwards.

What start-up makes lives as long as the process. Python's collector looks at all of it several
times while it grows, a tenth of the time to start, and again whenever it looks at everything. Only
a command may decide this: it is the whole process's business.
"""

from __future__ import annotations

import gc


def begin_startup() -> None:
    """Collect only what has just been made, which is where the garbage of imports is."""
    gc.set_threshold(700, 1_000_000, 1_000_000)


class Startup:
    """A task status for the server: its start-up is over once it listens."""

    def started(self, value: object = None) -> None:  # noqa: ARG002  what a task status is told
        """Never look again at what is there by now, and less often at the rest.

        With Python's own thresholds the collector is 30 % of the work for 500 streams.
        """
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
