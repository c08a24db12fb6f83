"""More than one prompt: queues, folding, two sessions, the same prompt twice."""

from __future__ import annotations

from crush_trio.providers.script import Call, Hang, Pause, Say
from crush_trio.testing.operations import (
    Cancel,
    Clear,
    Create,
    Hurry,
    Prompt,
    Sleep,
    UntilStanding,
    UntilText,
)
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios.prompts import BOTH, HERE
from crush_trio.testing.tools import ScriptedTool

LOOK = ScriptedTool("look", seconds=1.0)

SCENARIOS = (
    Scenario(
        "three prompts in a row",
        (*HERE, Hurry(("one", "two", "three"))),
        {"two": [[Say("Two things.", pause=0.05)]]},
    ),
    Scenario(
        "a cancel takes the queue, and no prompt behind it",
        (
            *BOTH,
            Prompt("one", "r1"),
            Prompt("two", "r2", "b"),
            UntilText("Half"),
            Cancel("b"),
            Prompt("three", "r3"),
        ),
        {"one": [[Say("Half a "), Hang()]]},
    ),
    Scenario(
        "a clear takes what waits, and not what runs",
        (
            *BOTH,
            Prompt("one", "r1"),
            Prompt("two", "r2", "b"),
            Prompt("three", "", "b"),
            UntilText("Half"),
            Clear("b"),
        ),
        {"one": [[Say("Half a "), Pause(1), Say("sentence.")]]},
    ),
    Scenario(
        "a prompt folds into the turn that runs",
        (*BOTH, Prompt("one", "r1"), UntilStanding("tool"), Prompt("two", "", "b")),
        {
            "one": [[Say("Let me see."), Call("look")]],
            "two": [[Say("Both", chunk=2, pause=0.05), Say(" done.")]],
        },
        tools=(LOOK,),
    ),
    Scenario(
        "a folded prompt is cancelled with its turn",
        (
            *BOTH,
            Prompt("one", "r1"),
            UntilStanding("tool"),
            Prompt("two", "", "b"),
            UntilText("Both"),
            Cancel("b"),
        ),
        {"one": [[Say("Let me see."), Call("look")]], "two": [[Say("Both "), Hang()]]},
        tools=(LOOK,),
    ),
    Scenario(
        "two sessions side by side",
        (
            *BOTH,
            Create("other", "b"),
            Prompt("one", "r1"),
            Prompt("two", "r2", "b", "other"),
            UntilText("Half"),
            Cancel("a"),
        ),
        {"one": [[Say("Half a "), Hang()]], "two": [[Say("It goes on.", pause=0.5)]]},
    ),
    Scenario(
        "the same prompt is posted again",
        (
            *BOTH,
            Prompt("one", "r1"),
            Prompt("one", "r1", "b"),
            Sleep(1),
            Prompt("one", "r1"),
            Prompt("another", "r1", "b"),
        ),
        {"one": [[Say("Once only.", pause=0.1)]]},
    ),
)
