"""How a server process collects its garbage."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from crush_trio.cli.collector import Startup


@pytest.fixture(autouse=True)
def _untouched_collector() -> Generator[None]:
    """Leave the collector of this process as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_only_what_is_young_is_collected_while_the_server_starts() -> None:
    """Imports leave garbage, which must not stay for ever; what they make is looked at once."""
    Startup()
    before = [each["collections"] for each in gc.get_stats()]
    rings = [Ring() for _ in range(50_000)]
    young, *older = (each["collections"] for each in gc.get_stats())
    assert young > before[0]
    assert older == before[1:]
    assert len(rings) == 50_000


def test_what_is_there_when_the_server_listens_is_never_looked_at_again() -> None:
    """A full collection then costs what sessions hold, not what modules hold."""
    usual = gc.get_threshold()
    Startup().started()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == usual
