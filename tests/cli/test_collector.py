"""How a server process collects its garbage."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

from crush_trio.cli import collector


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


def test_garbage_of_imports_is_collected_while_the_server_starts() -> None:
    """The young are looked at as always; otherwise what imports leave behind would stay for ever."""
    collector.begin_startup()
    collections = gc.get_stats()[0]["collections"]
    rings = [Ring() for _ in range(2000)]
    assert gc.get_stats()[0]["collections"] > collections
    assert len(rings) == 2000


def test_what_is_there_when_the_server_listens_is_never_looked_at_again() -> None:
    """A full collection then costs what sessions hold, not what modules hold."""
    collector.begin_startup()
    collector.Startup().started()
    assert gc.get_freeze_count() > 10_000
    assert gc.isenabled()
