"""The testing kit: a whole server in one process, in virtual time, struck at every step.

``run`` is one simulated run: the same seed gives the same order of scheduling. ``open_core`` opens
the program without its HTTP in it. Nothing of the program imports this package.
"""

from __future__ import annotations

from crush_trio.testing.callables import CallableReport, Fault, sweep_callable
from crush_trio.testing.core import Core, open_core
from crush_trio.testing.doors import OutsideWorldError
from crush_trio.testing.model import plain_answer, scripted_model
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.running import run, virtual_now

__all__ = [
    "CallableReport",
    "Core",
    "Fault",
    "OutsideWorldError",
    "Place",
    "open_core",
    "open_place",
    "plain_answer",
    "run",
    "scripted_model",
    "sweep_callable",
    "virtual_now",
]
