"""Turns with tools: commands, parallel calls, errors, background shells."""

from __future__ import annotations

from crush_trio.providers.script import Call, Say, Think
from crush_trio.testing.operations import Cancel, Prompt, Sleep, UntilStanding
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios.prompts import BOTH, HERE
from crush_trio.testing.tools import ScriptedTool
from crush_trio.tools.scripted import SLEEP_FOREVER, Script

LIST = Call("bash", {"command": "ls", "description": "List"})
SERVE = Call("bash", {"command": "pwd", "description": "Serve", "run_in_background": True})

SCENARIOS = (
    Scenario(
        "a prompt with tools and one behind it",
        (*HERE, Prompt("one", "r1"), Prompt("two", "r2")),
        {"one": [[Think("A list."), Say("Let me look."), LIST], [Say("Two files.", pause=0.02)]]},
        commands={"ls": Script("a\nb\n", seconds=0.1)},
    ),
    Scenario(
        "a cancel while a command runs",
        (*BOTH, Prompt("one", "r1"), UntilStanding("tool"), Sleep(1), Cancel("b", wait=True)),
        {"one": [[Say("Let me look."), LIST]]},
        commands={"ls": SLEEP_FOREVER},
    ),
    Scenario(
        "a command that does not want to end",
        (*BOTH, Prompt("one", "r1"), UntilStanding("tool"), Sleep(1), Cancel("b"), Prompt("two")),
        {"one": [[Say("Let me look."), LIST]]},
        commands={"ls": Script(seconds=1e6, stubborn=True)},
    ),
    Scenario(
        "tools side by side, and one that raises",
        (*HERE, Prompt("one", "r1")),
        {"one": [[Call("beside"), Call("broken"), Call("beside"), Call("missing"), Call("plain")]]},
        tools=(
            ScriptedTool("beside", seconds=0.5, parallel=True),
            ScriptedTool("broken", error="it broke", parallel=True),
            ScriptedTool("plain"),
        ),
        may_log=("tool broken raised",),
    ),
    Scenario(
        "a command that goes on in the background",
        (*HERE, Prompt("one", "r1"), Prompt("two", "r2")),
        {"one": [[Say("Starting it."), SERVE], "It runs."]},
        commands={"pwd": SLEEP_FOREVER},
        background=frozenset({"pwd"}),
    ),
)
