"""How long a write may wait for a peer that does not read (promise S3)."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager

import trio


class SendDeadlines:
    """The deadlines of all writes of one server.

    A peer that reads nothing for ``seconds`` is given up. Not so a *patient* write, one that serves
    an event stream: its reader may be suspended for hours, until the server begins to close.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.closing = False
        self._end = math.inf
        self._waiting: dict[trio.CancelScope, bool] = {}

    @contextmanager
    def bound(self, *, patient: bool, shield: bool = False) -> Generator[trio.CancelScope]:
        """Give a wait its deadline. A shield is bounded by it too, once the server closes."""
        scope = trio.CancelScope(deadline=self._deadline(patient=patient), shield=shield)
        self._waiting[scope] = patient
        try:
            with scope:
                yield scope
        finally:
            del self._waiting[scope]

    def begin_closing(self) -> None:
        """From now on nothing is patient. Not a checkpoint."""
        self.closing = True
        self._tighten()

    def expire_at(self, end: float) -> None:
        """Let no write wait beyond ``end`` on Trio's clock. Not a checkpoint."""
        self._end = min(self._end, end)
        self._tighten()

    def _tighten(self) -> None:
        for scope, patient in self._waiting.items():
            scope.deadline = min(scope.deadline, self._deadline(patient=patient))

    def _deadline(self, *, patient: bool) -> float:
        wait = math.inf if patient and not self.closing else self.seconds
        return min(trio.current_time() + wait, self._end)
