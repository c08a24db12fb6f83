"""One prompt: answered, cancelled, dropped by its client, tried again, failed, titled."""

from __future__ import annotations

from crush_trio.errors import ProviderError
from crush_trio.providers.script import Call, Cut, Fail, Hang, Pause, Say, Think
from crush_trio.testing.operations import (
    Cancel,
    Create,
    Drop,
    Join,
    Listen,
    Open,
    Prompt,
    Read,
    Sleep,
    UntilStanding,
    UntilText,
)
from crush_trio.testing.scenario import Gate, Scenario

DOWN = ProviderError("connection refused", retryable=True)
REFUSED = ProviderError("the key is wrong", title="Unauthorized")

HERE = (Join("a"), Create(), Listen("a"))
"""One client with a session and a stream."""

BOTH = (*HERE, Join("b"), Listen("b", ids=True))
"""Two clients, one of them with ids."""

SCENARIOS = (
    Scenario(
        "one prompt",
        (*HERE, Prompt("one", "r1")),
        {"one": [[Think("They say one."), Say("This is the answer.", pause=0.04)]]},
    ),
    Scenario(
        "another client cancels in mid-sentence",
        (*BOTH, Prompt("one", "r1"), UntilText("Half"), Cancel("b", wait=True)),
        {"one": [[Say("Half a "), Hang()]]},
    ),
    Scenario(
        "the run outlives the client that asked for it",
        (*BOTH, Prompt("one", "r1"), UntilText("Half"), Drop("a"), Sleep(1), Open("go")),
        {"one": [[Say("Half a "), Gate("go"), Say("sentence.")]]},
    ),
    Scenario(
        "a provider that is down is tried again",
        (*HERE, Prompt("one", "r1")),
        {"one": [[Say("Half of it."), Fail(DOWN)], [Fail(DOWN)], [Say("All of it.")]]},
    ),
    Scenario(
        "a cancel while the next try waits",
        (*BOTH, Prompt("one", "r1"), UntilStanding("retry"), Sleep(1), Cancel("b"), Prompt("two")),
        {"one": [[Say("Half of it."), Cut()], "never"]},
    ),
    Scenario(
        "a provider that refuses fails the run",
        (*HERE, Prompt("one", "r1"), Prompt("two", "r2")),
        {"one": [[Fail(REFUSED)]]},
        may_fail=frozenset({"one"}),
    ),
    Scenario(
        "a stream that breaks behind a call",
        (*HERE, Prompt("one", "r1"), Prompt("two", "r2")),
        {"one": [[Think("Hm."), Say("Look:"), Call("bash", {"command": "x"}), Fail(REFUSED)]]},
        may_fail=frozenset({"one"}),
    ),
    Scenario(
        "a title that is made beside the run",
        (*HERE, Prompt("one", "r1"), Cancel("a"), Prompt("two", "r2"), Sleep(3)),
        {"one": [[Say("Half a "), Hang()]]},
        title=[Pause(2), Say("A slow title")],
    ),
    Scenario(
        "a reader in the middle of an answer",
        (*HERE, Prompt("one", "r1"), UntilText("word1"), Read("a"), Read("a")),
        {"one": [[Say("word1 word2 word3 word4 ", pause=0.02)]]},
    ),
)
