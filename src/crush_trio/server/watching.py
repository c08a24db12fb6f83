"""The monitor of a server in production: what it finds is logged, and counted at the end."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crush_trio.observer import SILENT, Observer

if TYPE_CHECKING:
    from crush_trio.monitor import Violation

logger = logging.getLogger(__name__)

TOLD_IN_FULL = 20
"""Violations that are logged with what happened before them; one defect may show a thousand times."""


@contextmanager
def watching(*, asked: bool) -> Generator[Observer]:
    """Give what is to observe a server: the monitor if it was asked for.

    Each violation is logged as an error, the first ones with the last 200 happenings; leaving the
    block logs how many there were. Nothing of what is logged is anybody's text (A2).
    """
    if not asked:
        yield SILENT
        return
    from crush_trio.monitor import Monitor  # noqa: PLC0415  for whoever asks

    monitor = Monitor(_Report())
    logger.info("the monitor watches this server")
    try:
        yield monitor
    finally:
        logger.info(
            "the monitor saw %d violations in %d happenings", monitor.count, monitor.happenings
        )


class _Report:
    """Logs violations, the first ones in full."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, violation: Violation, recent: Sequence[str]) -> None:
        self._told += 1
        if self._told > TOLD_IN_FULL:
            logger.error("a promise was broken: %s", violation)
            return
        before = "\n  ".join(recent)
        logger.error("a promise was broken: %s\nbefore it:\n  %s", violation, before)
