"""The transition table: what can happen to a run, in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.runs.states import TRANSITIONS, IllegalTransitionError, State, Step, advance

STEPS = st.lists(st.sampled_from(list(Step)), max_size=12)


def walk(steps: list[Step]) -> tuple[State, list[Step]]:
    """Take every step that the table allows; return where that leads and which those were."""
    state, taken = State.WAITING, list[Step]()
    for step in steps:
        try:
            state = advance(state, step)
        except IllegalTransitionError:
            continue
        taken.append(step)
    return state, taken


@pytest.mark.promise("R1", "R5")
@given(STEPS)
def test_whatever_happens_a_run_concludes_and_settles_at_most_once(steps: list[Step]) -> None:
    """Its outcome is fixed in one step, which comes before the settlement and never twice."""
    state, taken = walk(steps)
    assert taken.count(Step.CONCLUDE) <= 1
    assert taken.count(Step.SETTLE) <= 1
    assert (state is State.SETTLED) == (taken[-2:] == [Step.CONCLUDE, Step.SETTLE])


@pytest.mark.promise("R12")
@given(STEPS)
def test_a_run_has_its_own_turn_or_joins_another_but_not_both(steps: list[Step]) -> None:
    """A prompt that has started never folds, and one that has folded never starts."""
    _, taken = walk(steps)
    assert taken.count(Step.START) + taken.count(Step.FOLD) <= 1


@pytest.mark.promise("R1")
@pytest.mark.parametrize("state", State)
def test_every_state_leads_to_settlement(state: State) -> None:
    """No run is stuck: from wherever it is, concluding and settling are allowed in turn."""
    while state is not State.SETTLED:
        state = advance(state, Step.SETTLE if state is State.CONCLUDED else Step.CONCLUDE)
    assert TRANSITIONS[State.SETTLED] == {}


def test_a_step_that_is_not_allowed_says_what_it_was() -> None:
    """It is a defect of this program, so it raises and names both."""
    with pytest.raises(IllegalTransitionError, match="a settled run cannot start"):
        advance(State.SETTLED, Step.START)
