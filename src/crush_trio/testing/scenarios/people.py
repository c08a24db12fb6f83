"""Permissions: granted, denied, cancelled while open, two at once, a client that comes later."""

from __future__ import annotations

from crush_trio.providers.script import Call, Say
from crush_trio.testing.operations import Answer, Cancel, Join, Listen, Prompt, UntilStanding
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios.prompts import BOTH, HERE
from crush_trio.testing.tools import ScriptedTool
from crush_trio.tools.scripted import Script

MAKE = Call("bash", {"command": "make", "description": "Build"})
COMMANDS = {"make": Script("built\n", seconds=0.2)}
ASK = ScriptedTool("ask", asks=True)

SCENARIOS = (
    Scenario(
        "a command is permitted",
        (*BOTH, Prompt("one", "r1"), Answer("allow", "b")),
        {"one": [[Say("May I?"), MAKE], "Built."]},
        commands=COMMANDS,
    ),
    Scenario(
        "a command is denied, and the next prompt runs",
        (*BOTH, Prompt("one", "r1"), Prompt("two", "r2"), Answer("deny", "b")),
        {"one": [[Say("May I?"), MAKE]]},
        commands=COMMANDS,
    ),
    Scenario(
        "a cancel while somebody is asked",
        (*BOTH, Prompt("one", "r1"), UntilStanding("tool"), Cancel("b"), Prompt("two", "r2")),
        {"one": [[Say("May I?"), MAKE]]},
        commands=COMMANDS,
    ),
    Scenario(
        "two calls ask, and the first grant is for the session",
        (*HERE, Prompt("one", "r1"), Answer("allow_session")),
        {"one": [[Call("ask"), Call("ask")], "Both."]},
        tools=(ASK,),
    ),
    Scenario(
        "a client that comes late answers",
        (
            *HERE,
            Prompt("one", "r1"),
            UntilStanding("tool"),
            Join("b"),
            Listen("b"),
            Answer("allow", "b"),
        ),
        {"one": [[Say("May I?"), MAKE], "Built."]},
        commands=COMMANDS,
    ),
)
