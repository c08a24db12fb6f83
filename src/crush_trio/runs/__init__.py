"""Runs and cancel: which prompt runs when, and what a cancel means.

``states`` is the transition table, ``run`` one accepted prompt, ``lane`` a session's runs in order.
A run is cancelled in :meth:`Lane.cancel`, through the scope that the run was born with.
"""

from __future__ import annotations

from crush_trio.runs.answers import settled_answer
from crush_trio.runs.lane import Lane
from crush_trio.runs.receipt import Receipt
from crush_trio.runs.results import Ending, Results
from crush_trio.runs.run import Owner, Run, Turn
from crush_trio.runs.states import State

__all__ = [
    "Ending",
    "Lane",
    "Owner",
    "Receipt",
    "Results",
    "Run",
    "State",
    "Turn",
    "settled_answer",
]
