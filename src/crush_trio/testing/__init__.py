"""The testing kit: a whole server in one process, in virtual time, struck at every step.

``run`` is one simulated run: the same seed gives the same order of scheduling. ``open_core`` opens
the program without its HTTP in it, ``open_world`` with it, behind a network whose faults are scripted
or drawn. ``sweep`` strikes a story at each of its steps, ``sweep_callable`` any async
callable; ``explore`` plays a story in many orders. Nothing of the program imports this package.
"""

from __future__ import annotations

from crush_trio.testing.callable_report import CallableReport, Finding
from crush_trio.testing.callables import sweep_callable
from crush_trio.testing.core import Core, open_core
from crush_trio.testing.doors import OutsideWorldError
from crush_trio.testing.exploring import Exploration, explore
from crush_trio.testing.faults import (
    Cut,
    Fault,
    HalfClose,
    Latency,
    Refused,
    Reset,
    ServerStop,
    SlowReader,
    StalledReader,
)
from crush_trio.testing.model import plain_answer, scripted_model
from crush_trio.testing.place import Place, open_place
from crush_trio.testing.report import Report
from crush_trio.testing.running import run, virtual_now
from crush_trio.testing.scenario import Gate, Scenario
from crush_trio.testing.sweeping import sweep
from crush_trio.testing.tools import ScriptedTool
from crush_trio.testing.trace import Trace
from crush_trio.testing.world import BrokenPromiseError, World, open_world

__all__ = [
    "BrokenPromiseError",
    "CallableReport",
    "Core",
    "Cut",
    "Exploration",
    "Fault",
    "Finding",
    "Gate",
    "HalfClose",
    "Latency",
    "OutsideWorldError",
    "Place",
    "Refused",
    "Report",
    "Reset",
    "Scenario",
    "ScriptedTool",
    "ServerStop",
    "SlowReader",
    "StalledReader",
    "Trace",
    "World",
    "explore",
    "open_core",
    "open_place",
    "open_world",
    "plain_answer",
    "run",
    "scripted_model",
    "sweep",
    "sweep_callable",
    "virtual_now",
]
