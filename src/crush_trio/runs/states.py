"""The life of a run, as one table. Nothing here awaits, publishes or stores.

Rule 1: everything that decides whether a run may go from one state to another stands in
``TRANSITIONS``; other files call :func:`advance` and never assign a state.

Theory of operation. A prompt is *accepted* when its lane has taken it: from that moment on it
settles exactly once (R1). It waits until it is at the head of its lane, then it *starts*; or it
*folds* into the turn that is running (only a prompt whose caller gave no run id). A run
*concludes* in one step, and that step fixes its outcome: a cancel covers exactly the runs that
have not concluded (R5). Then its finish part is written, and it *settles*: it leaves its lane, its
end is published and everybody who waits is answered. A run that waited and is cancelled or cleared
concludes without ever starting.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a run is in its life."""

    WAITING = "waiting"
    ACTIVE = "active"
    FOLDED = "folded"
    CONCLUDED = "concluded"
    SETTLED = "settled"


class Step(enum.Enum):
    """What can happen to a run."""

    START = "start"
    FOLD = "fold"
    CONCLUDE = "conclude"
    SETTLE = "settle"


TRANSITIONS: dict[State, dict[Step, State]] = {
    State.WAITING: {
        Step.START: State.ACTIVE,
        Step.FOLD: State.FOLDED,
        Step.CONCLUDE: State.CONCLUDED,
    },
    State.ACTIVE: {Step.CONCLUDE: State.CONCLUDED},
    State.FOLDED: {Step.CONCLUDE: State.CONCLUDED},
    State.CONCLUDED: {Step.SETTLE: State.SETTLED},
    State.SETTLED: {},
}


class IllegalTransitionError(AssertionError):
    """A step that the table does not allow: a defect of this program, never of its user."""


def advance(state: State, step: Step) -> State:
    """Return the state after ``step``.

    Raises:
        IllegalTransitionError: the table has no such transition.
    """
    try:
        return TRANSITIONS[state][step]
    except KeyError:
        raise IllegalTransitionError(f"a {state.value} run cannot {step.value}") from None
