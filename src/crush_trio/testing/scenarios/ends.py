"""How things end: goodbyes, deletions, an orderly stop, a restart, a kill, streams that come back."""

from __future__ import annotations

from crush_trio.providers.script import Call, Hang, Pause, Say, Think
from crush_trio.testing.operations import (
    Create,
    Deafen,
    Delete,
    Join,
    Kill,
    Listen,
    Prompt,
    Release,
    Retire,
    Sleep,
    Stall,
    Start,
    Stop,
    UntilText,
)
from crush_trio.testing.place import BESIDE
from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios.prompts import BOTH, HERE
from crush_trio.testing.tools import ScriptedTool

HALF = {"one": [[Say("Half a "), Hang()]]}

SCENARIOS = (
    Scenario(
        "the last goodbye ends the run",
        (
            *BOTH,
            Prompt("one", "r1"),
            Prompt("two", "r2"),
            UntilText("Half"),
            Retire("a"),
            Retire("b"),
        ),
        HALF,
    ),
    Scenario(
        "a client that returns within the grace",
        (
            *HERE,
            Prompt("one", "r1"),
            UntilText("Half"),
            Deafen("a"),
            Release("a"),
            Join("b"),
            Listen("b"),
        ),
        {"one": [[Say("Half a "), Pause(5), Say("sentence.")]]},
    ),
    Scenario(
        "a session is deleted under its run",
        (*BOTH, Prompt("one", "r1"), Prompt("two", "r2"), UntilText("Half"), Delete("main", "b")),
        HALF,
    ),
    Scenario(
        "the server is stopped and started again",
        (
            *BOTH,
            Prompt("one", "r1"),
            Prompt("two", "r2"),
            UntilText("Half"),
            Stop(),
            Start(),
            Join("a"),
            Prompt("three", "r3"),
        ),
        HALF,
    ),
    Scenario(
        "the server is killed and started again",
        (
            *BOTH,
            Prompt("one", "r1"),
            UntilText("Half"),
            Sleep(1),
            Kill(),
            Start(),
            Join("a"),
            Listen("a"),
            Prompt("two", "r2"),
        ),
        {"one": [[Say("Half a "), Call("look"), Hang()]]},
        tools=(ScriptedTool("look"),),
    ),
    Scenario(
        "a stream is lost and comes back, beside one that reads nothing",
        (
            Join("a"),
            Create(),
            Listen("a", ids=True),
            Join("b"),
            Listen("b", ids=True),
            Prompt("one", "r1"),
            UntilText("word1"),
            Stall("b"),
            Deafen("a"),
            Sleep(0.1),
            Listen("a", ids=True),
        ),
        {"one": [[Say("word1 word2 word3 word4 ", pause=0.1)]]},
    ),
    Scenario(
        "a stream of deltas is lost and comes back, beside one that reads nothing",
        (
            Join("a"),
            Create(),
            Listen("a", deltas=True),
            Join("b"),
            Listen("b", deltas=True),
            Prompt("one", "r1"),
            UntilText("word1"),
            Stall("b"),
            Deafen("a"),
            Sleep(0.1),
            Listen("a", deltas=True),
        ),
        {"one": [[Think("Hm, hm."), Say("word1 word2 word3 word4 ", pause=0.1)]]},
    ),
    Scenario(
        "clients of a server that was stopped come back with the ids that they have",
        (
            *BOTH,
            Prompt("one", "r1"),
            UntilText("Half"),
            Stop(),
            Start(),
            Listen("b", ids=True),
            Prompt("two", "r2"),
            Retire("b"),
            Prompt("three", "r3"),
        ),
        HALF,
        saves=True,
    ),
    Scenario(
        "clients of a server that was killed come back with the ids that they have",
        (
            *HERE,
            Join("b", BESIDE),
            Prompt("one", "r1"),
            UntilText("Half"),
            Kill(),
            Start(),
            Prompt("two", "r2"),
            Release("b"),
            Listen("a"),
            Prompt("three", "r3"),
        ),
        HALF,
        saves=True,
    ),
    Scenario(
        "two workspaces share a data directory",
        (
            *HERE,
            Join("b", BESIDE),
            Listen("b"),
            Prompt("one", "r1"),
            Prompt("two", "r2", "b"),
            UntilText("Half"),
            Retire("a"),
        ),
        HALF,
    ),
    Scenario(
        "a goodbye while the workspace opens",
        (
            Join("a"),
            Release("a"),
            Join("a"),
            Create(),
            Prompt("one", "r1"),
            Join("b"),
            Release("b"),
        ),
        {"one": [[Say("A word or two.", pause=0.1)]]},
    ),
)
