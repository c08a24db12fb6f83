"""How a server process collects its garbage while it starts.

What start-up makes lives as long as the process. Python's collector looks at all of it several
times while it grows, a tenth of the time to start, and again whenever it looks at everything. Only
a command may decide this: it is the whole process's business.
"""

from __future__ import annotations

import gc


class Startup:
    """A start-up that begins now. A task status for the server: it is over once that listens."""

    def __init__(self) -> None:
        """Collect only what has just been made, which is where the garbage of imports is."""
        self._usual = gc.get_threshold()
        gc.set_threshold(self._usual[0], 1_000_000, 1_000_000)

    def started(self, value: object = None) -> None:  # noqa: ARG002  what a task status is told
        """Collect as usual, but never look again at what is there by now."""
        gc.freeze()
        gc.set_threshold(*self._usual)
