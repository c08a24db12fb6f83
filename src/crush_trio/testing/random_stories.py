"""Random stories: drawn by Hypothesis, played in a world, held against the reference model."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from crush_trio.providers.script import Call as CallTool
from crush_trio.providers.script import Hang, Say
from crush_trio.runs import Ending
from crush_trio.testing.clients import Call
from crush_trio.testing.core import Core
from crush_trio.testing.operations import (
    Answer,
    Cancel,
    Clear,
    Create,
    Join,
    Kill,
    Listen,
    Operation,
    Prompt,
    Retire,
    Sleep,
    SlowDisk,
    Start,
    Stop,
)
from crush_trio.testing.reference import Reference
from crush_trio.testing.scenario import Line, Reply, Scenario
from crush_trio.testing.tools import ScriptedTool
from crush_trio.testing.vocabulary import (
    Cancels,
    Clears,
    Dies,
    Grants,
    Joins,
    Kind,
    Leaves,
    Prompts,
    PromptsAgain,
    Restarts,
    SlowsDown,
    Step,
    Waits,
)

SESSIONS = ("main", "other")

CLIENTS = ("a", "b")

POSTS = tuple(f"{client} prompts " for client in CLIENTS)
"""How the calls begin that a story's prompts are."""

LONG = 250.0
"""Virtual seconds in which everything settles that can: longer than retries, slow answers, graces."""

TOOLS = (ScriptedTool("work", seconds=1.0), ScriptedTool("ask", asks=True))

_ANSWERS: dict[Kind, list[list[Line]]] = {
    "plain": [],
    "slow": [[Say("One two three.", pause=1.0)]],
    "tool": [[Say("Let me see."), CallTool("work")]],
    "hang": [[Say("Half a "), Hang()]],
    "ask": [[Say("May I?"), CallTool("ask")]],
}


def scenario_of(steps: Sequence[Step]) -> Scenario:
    """Return the story of these steps; it begins with a client that makes the sessions and leaves."""
    story: list[Operation] = [Join("first"), *map(Create, SESSIONS, ["first"] * 2)]
    answers: dict[str, Sequence[Reply]] = {}
    reference = Reference()
    for step in steps:
        if isinstance(step, Prompts):
            answers[step.text] = _ANSWERS[step.kind]
        story += _operations(step, reference)
        reference.take([step])
        if isinstance(step, Joins) and story[-1:] == [Listen(step.client)]:
            story += [Retire("first")]
    story += [Sleep(LONG), Join("last"), *(Cancel("last", name, wait=True) for name in SESSIONS)]
    return Scenario("a random story", tuple(story), answers, tools=TOOLS)


def _operations(step: Step, reference: Reference) -> list[Operation]:
    """Return what is done for one step; nothing, if its client is not there."""
    client = getattr(step, "client", "")
    present = client in reference.clients
    match step:
        case Joins():
            there = present or client in reference.gone
            return [] if there else [Join(client), Listen(client)]
        case SlowsDown():
            return [SlowDisk(1.0)]
        case Waits():
            return [Sleep(LONG)]
        case Restarts():
            return [Stop(), Start(), *_coming_back(reference)]
        case Dies():
            return [Kill(), Start(), *_coming_back(reference)]
        case _:
            return _clients_operations(step, reference) if present else []


def _clients_operations(step: Step, reference: Reference) -> list[Operation]:
    found: Operation | None = None
    match step:
        case Leaves(client):
            found = Retire(client)
        case Prompts():
            found = _prompt(step, step.client)
        case PromptsAgain(client, number) if number in reference.posted:
            found = _prompt(reference.posted[number], client)
        case Cancels(client, session):
            found = Cancel(client, session)
        case Clears(client, session):
            found = Clear(client, session)
        case Grants(client):
            found = Answer("allow", client)
        case _:
            pass
    return [] if found is None else [found]


def _prompt(step: Prompts, client: str) -> Prompt:
    run_id = "" if step.steers else f"run {step.number}"
    return Prompt(step.text, run_id, client, step.session)


def _coming_back(reference: Reference) -> list[Operation]:
    return [
        operation
        for client in sorted(reference.clients)
        for operation in (Join(client), Listen(client))
    ]


@attrs.frozen
class Foreseen:
    """A story and what the reference says of it."""

    steps: tuple[Step, ...]
    scenario: Scenario
    outcomes: tuple[frozenset[str], ...]

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Foreseen:
        """Ask the reference."""
        reference = Reference()
        reference.take(steps)
        reference.finish()
        outcomes = tuple(frozenset(each.allowed) for each in reference.calls)
        return cls(tuple(steps), scenario_of(steps), outcomes)

    def compare(self, core: Core) -> list[str]:
        """Return where a world that has played the story was not as foreseen."""
        prompts = [call for call in core.calls if call.what.startswith(POSTS)]
        if len(prompts) != len(self.outcomes):
            return [f"{len(prompts)} prompts were posted, {len(self.outcomes)} foreseen"]
        return [
            f"{call.what} came to {outcome_of(call)}, allowed are {sorted(allowed)}"
            for call, allowed in zip(prompts, self.outcomes, strict=True)
            if outcome_of(call) not in allowed
        ]


def outcome_of(call: Call) -> str:
    """Return what a post came to, in the reference's words."""
    reply = call.reply
    if reply is None or reply.lost:
        return "lost"
    if isinstance(reply.body, Ending):
        return str(reply.body.outcome)
    return f"refused {reply.status}"
