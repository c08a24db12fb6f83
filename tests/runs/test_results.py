"""How runs ended is known for a while."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import RunID, SessionID
from crush_trio.runs import Ending, Results

S = SessionID("s")


def ending(name: str, session: SessionID = S, text: str = "") -> Ending:
    return Ending(RunID(name), session, b"print", "completed", text=text)


@pytest.mark.promise("R16")
async def test_an_ending_is_known_for_ten_minutes(mock_clock: MockClock) -> None:
    """Up to the last moment of the time it is kept, and not after it."""
    results = Results(600)
    results.keep(ending("a"))
    mock_clock.jump(1)
    results.keep(ending("b"))
    mock_clock.jump(599)
    assert results.find(S, RunID("a")) == ending("a")
    mock_clock.jump(0.5)
    assert results.find(S, RunID("a")) is None
    assert results.find(S, RunID("b")) is not None
    assert len(results) == 1
    mock_clock.jump(600)
    assert results.find(S, RunID("b")) is None
    assert len(results) == 0
    await trio.lowlevel.checkpoint()


@pytest.mark.promise("R16", "R14")
async def test_a_run_id_belongs_to_its_session() -> None:
    """Two sessions may use the same id, and each finds its own."""
    results = Results(600)
    other = SessionID("other")
    results.keep(ending("a", text="one"))
    results.keep(ending("a", other, text="two"))
    found, elsewhere = results.find(S, RunID("a")), results.find(other, RunID("a"))
    assert found is not None
    assert elsewhere is not None
    assert (found.text, elsewhere.text) == ("one", "two")
    assert results.find(SessionID("third"), RunID("a")) is None
    await trio.lowlevel.checkpoint()


@pytest.mark.promise("R16")
async def test_an_id_that_was_forgotten_can_be_used_again(mock_clock: MockClock) -> None:
    """The new run's ending is kept for its own ten minutes, whatever became of the old one."""
    results = Results(600)
    results.keep(ending("a", text="old"))
    mock_clock.jump(601)
    results.keep(ending("a", text="new"))
    mock_clock.jump(599)
    found = results.find(S, RunID("a"))
    assert found is not None
    assert found.text == "new"
    await trio.lowlevel.checkpoint()
