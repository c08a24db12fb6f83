"""Hypercorn's connections, made safe to expose.

Hypercorn 0.18 on Trio lets one client end the whole server (PR 228 of pgjones/hypercorn, which
contained errors of a connection, is not in its Trio server; issues 225 and 329, pull requests 312,
334 and 365 are open), waits for ever for a reader that has stalled, and buffers without bound for a
slow HTTP/2 reader. It is pinned exactly, and each file here replaces one piece:

===============  =====================================================================
connection.py    errors stay in their connection; bounded writes; prompt ends
protocol.py      chooses between the next two
h1.py            event streams that end with their connection; no upgrades
h2.py            what one stream does cannot hurt its connection; resets and goodbyes
buffer.py        back-pressure for HTTP/2 streams
deadlines.py     who may wait how long
floods.py        how much a peer may ask for that costs us more than it
methods.py       methods that only look like known ones
===============  =====================================================================

No name in hypercorn is patched: :mod:`crush_trio.server.listen` accepts connections itself and
gives each to :class:`GuardedTCPServer`, which builds the rest out of these classes.
"""

from __future__ import annotations

from crush_trio.server.guard.connection import GuardedTCPServer
from crush_trio.server.guard.context import ServerContext

__all__ = ["GuardedTCPServer", "ServerContext"]
