"""A monitor on every world of the tests: what breaks a promise there fails the test."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from crush_trio.monitor import Monitor


@contextmanager
def watched() -> Generator[Monitor]:
    """Lend a monitor; leaving the block fails if it has seen a promise broken.

    To be left after everything that it watches has closed. An error that comes through keeps its
    place, with what the monitor has seen beside it.
    """
    monitor = Monitor()
    try:
        yield monitor
    except BaseException as error:
        if monitor.count:
            error.add_note(findings(monitor))
        raise
    assert not monitor.count, findings(monitor)
    assert not monitor.faults, "the monitor itself has failed; the log says where"


def findings(monitor: Monitor) -> str:
    """Return what a monitor has found, and what happened last, in words."""
    found = [str(violation) for violation in monitor.violations]
    return "\n".join(["the monitor saw", *found, "after", *monitor.recent()[-60:]])
