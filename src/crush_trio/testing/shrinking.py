"""Smaller stories: what is left when one operation is dropped or one delay shortened. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from crush_trio.testing.scenario import Scenario

DELAYS = ("seconds", "pause")
"""The fields of operations, script lines and commands that hold virtual seconds."""


def smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Yield every story that is one change smaller, the last operations left out first."""
    story = scenario.story
    for at in range(len(story) - 1, -1, -1):
        yield attrs.evolve(scenario, story=(*story[:at], *story[at + 1 :]))
    for at, operation in enumerate(story):
        for shorter in _shorter(operation):
            yield attrs.evolve(scenario, story=(*story[:at], shorter, *story[at + 1 :]))
    for prompt, replies in scenario.answers.items():
        for changed in _smaller_replies(replies):
            yield attrs.evolve(scenario, answers={**scenario.answers, prompt: changed})
    for name, script in scenario.commands.items():
        for shorter in _shorter(script):
            yield attrs.evolve(scenario, commands={**scenario.commands, name: shorter})


def _smaller_replies(replies: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the answers to a prompt with one line less, or with a shorter delay in one."""
    for number, reply in enumerate(replies):
        if isinstance(reply, str):
            continue
        lines = list(reply)
        for at, line in enumerate(lines):
            without = lines[:at] + lines[at + 1 :]
            yield [*replies[:number], without, *replies[number + 1 :]]
            for shorter in _shorter(line):
                changed = [*lines[:at], shorter, *lines[at + 1 :]]
                yield [*replies[:number], changed, *replies[number + 1 :]]


def _shorter(thing: Any) -> Iterator[Any]:
    """Yield something with each of its delays at nothing, then at half."""
    for field in DELAYS:
        seconds = getattr(thing, field, 0)
        if isinstance(seconds, int | float) and 0.01 < seconds < 1e9:
            yield attrs.evolve(thing, **{field: 0.0})
            yield attrs.evolve(thing, **{field: round(seconds / 2, 3)})
