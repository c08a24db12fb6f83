"""The testing kit: a whole server in one process, in virtual time, struck at every step.

``run`` is one simulated run: the same seed gives the same order of scheduling. ``open_core`` opens
the program without its HTTP in it. Nothing of the program imports this package.
"""

from __future__ import annotations

from crush_trio.testing.doors import OutsideWorldError
from crush_trio.testing.running import run, virtual_now

__all__ = ["OutsideWorldError", "run", "virtual_now"]
