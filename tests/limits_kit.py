"""How long a test waits in real time until it says that something hangs.

What stays in this process and in its memory has the house's five seconds. These are for the rest; no
test ever waits so long unless it fails.
"""

PROCESS_LIMIT = 300
"""Seconds for a test that starts processes: an interpreter with this package needs half a second to
begin, and ten and more on a machine that is busy; a test starts up to three, one after the other."""

REAL_LIMIT = 120
"""Seconds for a test with sockets, threads, a disk or a shell: it takes two at most, and ten times
that on a machine that is slow and busy."""
