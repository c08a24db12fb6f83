"""Storage: Crush's own SQLite database of a data directory, written by one thread.

Above it are the tools, the agent and the workspaces; below it SQLite. This package is the only one
that knows SQL. It knows no hub: whoever opens a store says where its events go.

Synopsis::

    async with open_store(directory, hub.publish) as store:
        job = store.create_session("New Session")   # sync: accepted, in this order
        session = await job.wait()                  # committed, and its event published
        history = await store.messages(session.id)  # never waits behind writes
"""

from __future__ import annotations

from crush_trio.store.jobs import Job
from crush_trio.store.opening import open_memory_store, open_store
from crush_trio.store.store import Store

__all__ = ["Job", "Store", "open_memory_store", "open_store"]
