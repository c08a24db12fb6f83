"""How much a peer may ask for that costs us more than it costs the peer.

None of this bounds memory: frames are handled as they are read, and answers that the peer does not
take stop the reading. It bounds what one connection can make the server do instead of its work.
"""

from __future__ import annotations

import trio

RESETS = 500
"""HTTP/2 streams that a peer may end by a reset at once: all that it can have open."""

RESETS_REFILL = 50.0
"""Resets a second on top of that. A request that is reset is as good as not open, so that without
this the limit of concurrent streams limits nothing ("rapid reset", CVE-2023-44487)."""

IDLE_FRAMES = 2_000
"""HTTP/2 frames that ask for nothing (PING, SETTINGS, PRIORITY, empty DATA) that may come at once:
some clients begin with hundreds of priorities."""

IDLE_FRAMES_REFILL = 100.0
"""Such frames a second on top of that. Window updates are not counted: a reader has to send them."""


class Allowance:
    """A budget that may be spent at once, and is refilled by and by."""

    def __init__(self, burst: int, refill: float) -> None:
        """Begin with ``burst``; ``refill`` a second comes back."""
        self._burst, self._refill = burst, refill
        self._left = float(burst)
        self._at = trio.current_time()

    def spend(self) -> bool:
        """Take one and return True, or return False if none is left. Not a checkpoint."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._at) * self._refill)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
