"""A scenario: what the model, the shell and the clients do, and which promises that is about."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from crush_trio.providers.script import Op, WaitFor
from crush_trio.providers.scripted import Answer
from crush_trio.settings import Settings
from crush_trio.testing.core import Core, open_core
from crush_trio.testing.model import scripted_model
from crush_trio.testing.operations import Operation
from crush_trio.testing.place import Place
from crush_trio.tools.base import Tool
from crush_trio.tools.scripted import Script


@attrs.frozen
class Gate:
    """In a script: wait until the story opens the gate of this name."""

    name: str


Line = Op | Gate
Reply = str | Sequence[Line]


@attrs.frozen
class Scenario:
    """A story with everything that it needs.

    Attributes:
        name: What reports call it.
        story: What clients do, in order.
        answers: What the model answers to each prompt, request by request.
        title: What it answers when it is asked for a title.
        commands: What the shell knows.
        tools: What the model may call beside the built-in tools.
        background: Commands that may go on when their run has settled.
        may_fail: Prompts whose run may fail without a fault of the disk.
        may_log: What may be logged as an error.
        disturbances: The names of those that apply; all if None.
        settings: The server's.
        saves: Whether servers know the ids of the workspaces that the one before had open.
    """

    name: str
    story: tuple[Operation, ...]
    answers: Mapping[str, Sequence[Reply]] = attrs.field(factory=dict[str, Sequence[Reply]])
    title: Reply = "A title"
    commands: Mapping[str, Script] = attrs.field(factory=dict[str, Script])
    tools: tuple[Tool, ...] = ()
    background: frozenset[str] = frozenset()
    may_fail: frozenset[str] = frozenset()
    may_log: tuple[str, ...] = ()
    disturbances: frozenset[str] | None = None
    settings: Settings = attrs.field(factory=Settings)
    saves: bool = False

    @asynccontextmanager
    async def open(self, place: Place) -> AsyncGenerator[Core]:
        """Open the world that this happens in."""
        gates: dict[str, trio.Event] = {}

        def answer(reply: Reply) -> Answer:
            if isinstance(reply, str):
                return reply
            return [
                WaitFor(gates.setdefault(line.name, trio.Event()))
                if isinstance(line, Gate)
                else line
                for line in reply
            ]

        by_prompt = {
            prompt: [answer(reply) for reply in replies] for prompt, replies in self.answers.items()
        }
        async with open_core(
            scripted_model(by_prompt, answer(self.title)),
            commands=self.commands,
            tools=self.tools,
            settings=self.settings,
            place=place,
            saves=self.saves,
        ) as core:
            core.gates, core.background = gates, self.background
            yield core

    async def play(self, core: Core) -> None:
        """Let the story happen, and what it began come to its end."""
        for operation in self.story:
            await operation(core)
        await core.quiet()
        await trio.testing.wait_all_tasks_blocked()  # the last that readers are told
