"""``python -m crush_trio.testing``: the whole sweep and the whole exploration, one process a core."""

from __future__ import annotations

from crush_trio.testing.command import main

main()
