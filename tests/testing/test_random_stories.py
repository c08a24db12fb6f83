"""Random stories of clients, in random orders of scheduling, held against the reference model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crush_trio.testing import Core, Place, open_place
from crush_trio.testing.random_stories import CLIENTS, SESSIONS, Foreseen
from crush_trio.testing.reference import Reference
from crush_trio.testing.steps import Steps
from crush_trio.testing.sweeping import play
from crush_trio.testing.vocabulary import (
    Cancels,
    Clears,
    Dies,
    Grants,
    Joins,
    Kind,
    Leaves,
    Prompts,
    PromptsAgain,
    Restarts,
    SlowsDown,
    Step,
    Waits,
)


@pytest.fixture(name="place", scope="module")
def _place() -> Iterator[Place]:
    with open_place() as place:
        yield place


clients = st.sampled_from(CLIENTS)
sessions = st.sampled_from(SESSIONS)


@st.composite
def stories(draw: st.DrawFn) -> list[Step]:
    """Draw a story in which each prompt has a number of its own."""
    steps: list[Step] = [Joins("a")]
    steps.extend(draw(_step(number)) for number in range(draw(st.integers(1, 10))))
    return steps


def _step(number: int) -> st.SearchStrategy[Step]:
    kinds: st.SearchStrategy[Kind] = st.sampled_from(("plain", "slow", "tool", "hang"))
    return st.one_of(
        st.builds(Prompts, clients, sessions, kinds, st.just(number)),
        st.builds(Prompts, clients, st.just("main"), st.just("ask"), st.just(number)),
        st.builds(Prompts, clients, sessions, st.just("plain"), st.just(number), st.just(True)),
        st.builds(PromptsAgain, clients, st.integers(0, 9)),
        st.builds(Cancels, clients, sessions),
        st.builds(Clears, clients, sessions),
        st.builds(Grants, clients),
        st.builds(Joins, clients),
        st.builds(Leaves, clients),
        st.sampled_from((Waits(), SlowsDown(), Restarts(), Dies())),
    )


@pytest.mark.promise("R1", "R4", "R5", "R6", "R12", "R13", "R14", "R16", "C1")
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=stories(), seed=st.integers(0, 1000))
def test_every_prompt_comes_to_an_outcome_that_the_rules_allow(
    place: Place, steps: list[Step], seed: int
) -> None:
    """Whoever joins, prompts, cancels, leaves or kills the server, in whatever order."""
    foreseen = Foreseen.of(steps)
    worlds: list[Core] = []
    complaints = play(foreseen.scenario, place, Steps(), seed, opened=worlds.append)
    assert not complaints
    assert not foreseen.compare(worlds[0])


A = Joins("a")
HANG = Prompts("a", "main", "hang", 0)
PLAIN = Prompts("a", "main", "plain", 1)
ASK = Prompts("a", "main", "ask", 2)


@pytest.mark.parametrize(
    ("steps", "outcomes"),
    [
        ([PLAIN], [{"completed"}]),
        ([HANG, PLAIN, Cancels("a", "main")], [{"cancelled"}, {"cancelled"}]),
        ([PLAIN, Cancels("a", "main")], [{"completed", "cancelled"}]),
        ([PLAIN, Waits(), Cancels("a", "main")], [{"completed"}]),
        ([HANG, PLAIN, Clears("a", "main")], [{"cancelled"}, {"cancelled"}]),
        ([PLAIN, HANG, Clears("a", "main")], [{"completed"}, {"cancelled"}]),
        ([HANG, Cancels("a", "main"), PLAIN], [{"cancelled"}, {"completed"}]),
        ([HANG, Cancels("a", "other"), Dies()], [{"lost"}]),
        ([HANG, Cancels("a", "main"), Dies()], [{"cancelled", "lost"}]),
        ([HANG, PLAIN, Clears("a", "main"), Dies()], [{"lost"}, {"cancelled", "lost"}]),
        ([HANG, Leaves("a"), Dies()], [{"cancelled", "lost"}]),
        ([HANG, Cancels("a", "main"), Waits(), Dies()], [{"cancelled"}]),
        ([HANG, Cancels("a", "main"), Restarts(), Dies()], [{"cancelled"}]),
        ([PLAIN, Restarts(), PromptsAgain("a", 1)], [{"completed", "cancelled"}, {"completed"}]),
        ([ASK, PLAIN, Grants("a")], [{"completed"}, {"completed"}]),
        ([HANG, ASK, Grants("a"), Leaves("a")], [{"cancelled"}, {"cancelled"}]),
    ],
)
def test_the_reference_says_what_must_happen(steps: list[Step], outcomes: list[set[str]]) -> None:
    """Where the rules leave no choice it foresees one outcome, and two where there is a race."""
    reference = Reference()
    reference.take([A, *steps])
    reference.finish()
    assert [each.allowed for each in reference.calls] == outcomes


def test_an_outcome_that_was_not_foreseen_is_found(place: Place) -> None:
    """The comparison is not empty: a reference of another story does not fit."""
    worlds: list[Core] = []
    played = Foreseen.of([A, HANG, Cancels("a", "main")])
    assert not play(played.scenario, place, Steps(), 0, opened=worlds.append)
    assert not played.compare(worlds[0])
    other = Foreseen.of([A, PLAIN])
    assert other.compare(worlds[0]) == [
        "a prompts 'hang 0' came to cancelled, allowed are ['completed']"
    ]
