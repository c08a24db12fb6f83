"""The server is struck through its connections, at steps of its own code, and keeps its promises."""

from __future__ import annotations

from collections.abc import Generator

import msgspec
import pytest

from crush_trio.testing.network_stories import STORIES
from crush_trio.testing.network_story import Told, check
from crush_trio.testing.network_sweep import LAYERS, sweep_network
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.strikes import STRIKES
from crush_trio.wire.runs import RunResult

SAMPLE = 1
"""Steps that each strike hits in these tests; ``nox -s sweep_network`` takes all of them."""


@pytest.fixture(scope="module")
def place() -> Generator[Place]:
    with open_place() as made:
        yield made


@pytest.mark.promise("R2", "R3", "R4", "R14", "R16", "S6")
@pytest.mark.parametrize(
    ("name", "http2"), [*((name, False) for name in STORIES), ("a queue", True)]
)
def test_no_strike_breaks_a_promise(name: str, http2: bool, place: Place) -> None:
    """No connection's end changes a run, and no end of the server leaves anybody without an answer."""
    report = sweep_network(STORIES[name], http2=http2, sample=SAMPLE, place=place)
    assert not report.violations, report
    assert report.strikes == dict.fromkeys(STRIKES, SAMPLE)
    assert sum(report.points.values()) >= 100
    assert all(report.points[layer] for layer in LAYERS)


def test_a_sweep_sees_a_run_that_a_connection_has_changed() -> None:
    """Also one that nobody was told of, and one that somebody else was told of."""
    result = RunResult("run-0", "s", "completed", cancelled=False, message_id="m", text="all of it")
    first, story = Told({"run-0": result}), STORIES["a prompt"]

    def said(**changed: object) -> str:
        struck = Told({"run-0": msgspec.structs.replace(result, **changed)})
        return "\n".join(check(story, "reset", first, struck))

    assert "(R2)" in said(text="half")
    assert "(R2)" in said(outcome="cancelled")
    assert "(R14)" in said(run_id="run-1")
    assert "(R4, R16)" in "\n".join(check(story, "reset", first, Told()))
    assert "(R8)" in "\n".join(check(story, "cancel", first, Told({"run-0": result})))
