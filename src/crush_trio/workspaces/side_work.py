"""Work that belongs to a workspace and not to a run, such as a title."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from crush_trio.ids import WorkspaceID
from crush_trio.workspaces.claims import Claims

logger = logging.getLogger(__name__)


class SideWork:
    """Starts such work, and lets it claim the workspace for a bounded time.

    Args:
        workspace_id: Whose it is.
        nursery: Where it lives; the workspace's.
        claims: Who keeps the workspace open.
        claim_seconds: How long a piece of work keeps it open at most.
    """

    def __init__(
        self,
        workspace_id: WorkspaceID,
        nursery: trio.Nursery,
        claims: Claims,
        claim_seconds: float,
    ) -> None:
        self._workspace_id = workspace_id
        self._nursery = nursery
        self._claims = claims
        self._claim_seconds = claim_seconds

    def start(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Start a piece of work.

        It keeps the workspace open for a bounded time (wire contract 0), and may go on for longer
        if somebody else keeps it open. An error of it is logged and stays here (C3). Not a
        checkpoint.
        """
        token = object()
        self._claims.begin(token)
        self._nursery.start_soon(self._carry_out, work, token, name=name)

    async def _carry_out(self, work: Callable[[], Awaitable[None]], token: object) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_claim, token, name="claim")
                await work()
                nursery.cancel_scope.cancel("the work is done")
        except* (Exception, SystemExit):
            logger.exception("side work of workspace %s failed", self._workspace_id)
        finally:
            self._claims.end(token)

    async def _end_claim(self, token: object) -> None:
        await trio.sleep(self._claim_seconds)
        self._claims.end(token)
