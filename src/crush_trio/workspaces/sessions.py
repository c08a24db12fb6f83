"""The sessions of a workspace: what they hold, what waits in them, and their end.

Prompts come to a session through the workspace; its runs are in the lanes of the data directory.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from crush_trio.errors import UnknownSessionError
from crush_trio.ids import SessionID
from crush_trio.runs import Receipt, Run
from crush_trio.wire.sessions import Session
from crush_trio.workspaces.datadir import DataDirectory


class Sessions:
    """The sessions of one workspace's data directory.

    Args:
        data: Where they are.
        cancel: Cancels a session's runs; sync.
    """

    def __init__(self, data: DataDirectory, cancel: Callable[[SessionID], Receipt]) -> None:
        self._data = data
        self._cancel = cancel

    async def get(self, session_id: SessionID) -> Session:
        """Return a stored session.

        Raises:
            UnknownSessionError: there is none with this id.
        """
        session = await self._data.store.session(session_id)
        if session is None:
            raise UnknownSessionError(session_id)
        return session

    async def delete(self, session_id: SessionID) -> None:
        """Cancel a session's runs, wait until they have settled, then delete it (R3).

        Raises:
            UnknownSessionError: there is none with this id.
        """
        await self.get(session_id)
        while (active := self._active(session_id)) is not None:  # also one that came meanwhile
            self._cancel(session_id)
            await active.finished.wait()
        self._data.histories.drop(session_id)
        await self._data.store.delete_session(session_id).wait()

    def waiting_prompts(self, session_id: SessionID) -> list[str]:
        """Return the texts of the prompts that wait in a session, in order. Not a checkpoint."""
        if not self._data.busy(session_id):
            return []
        return [run.prompt.text for run in self._data.lane(session_id).waiting]

    async def flush(self, session_id: SessionID) -> None:
        """Store what a running turn has streamed, so that a reader sees it (R-20)."""
        active = self._active(session_id)
        if active is None:
            await trio.lowlevel.checkpoint()
        else:
            await active.turn.flush()

    def _active(self, session_id: SessionID) -> Run | None:
        return self._data.lane(session_id).active if self._data.busy(session_id) else None
