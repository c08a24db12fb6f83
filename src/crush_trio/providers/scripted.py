"""A model that reads like a script: the twin of every provider, for tests, demos and simulations.

Each request gets the next answer of the script, then ``ok`` for ever. Synopsis::

    model = ScriptedModel(
        [Say("Let me look."), Call("bash", {"command": "ls"})],
        "There are two files.",
    )
    request = await model.wait_request(1)

It knows no wire. ``server.model_script`` serves the same script over HTTP, and a contract test
holds both to the same deltas.
"""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from crush_trio.providers.base import Delta, ModelRequest, StreamEnd
from crush_trio.providers.failures import status_error, transport_error
from crush_trio.providers.script import (
    WAITS,
    Answer,
    Call,
    Cut,
    Fail,
    Finish,
    Hang,
    Move,
    Op,
    Pause,
    Report,
    Say,
    Think,
    WaitFor,
    failing,
    moves,
    operations,
)
from crush_trio.providers.strict import complaint

__all__ = [
    "Answer",
    "Call",
    "Cut",
    "Fail",
    "Finish",
    "Hang",
    "Op",
    "Pause",
    "Report",
    "Say",
    "ScriptedModel",
    "Think",
    "WaitFor",
    "failing",
]

TITLE_TOKENS = 40
"""The output limit by which a request for a title is known (agent contract 1.13)."""


class ScriptedModel:
    """A provider that plays a script, and remembers what it was asked.

    Attributes:
        requests: Every request but those for titles, in order of arrival.
        title_requests: The requests for titles. They have no part in the script.
        open_streams: How many answers are being read now.
        closed_streams: How many have been left, by whatever way.
        abandoned_streams: How many of those were left before their end.
    """

    def __init__(
        self,
        *answers: Answer,
        respond: Callable[[ModelRequest], Answer | None] | None = None,
        title: Answer = "Scripted title",
        strict: bool = True,
    ) -> None:
        """Make a model.

        Args:
            answers: The script, one answer for each request.
            respond: Asked first; if it returns None, the script has the next answer.
            title: The answer to every request for a title.
            strict: Refuse ill-formed conversations with a 400, as strict providers do (R9).
        """
        self.requests: list[ModelRequest] = []
        self.title_requests: list[ModelRequest] = []
        self.open_streams = 0
        self.closed_streams = 0
        self.abandoned_streams = 0
        self._script: deque[Answer] = deque(answers)
        self._respond = respond
        self._title = title
        self._strict = strict
        self._gates: dict[str, trio.Event] = {}
        self._call_numbers = itertools.count(1)
        self._changed = trio.Event()

    def then(self, *answers: Answer) -> None:
        """Add answers to the end of the script. Not a checkpoint."""
        self._script.extend(answers)

    def open_gate(self, name: str) -> None:
        """Let answers go on that wait, or will wait, at the gate of this name. Not a checkpoint."""
        self._gate(name).set()

    async def wait_request(self, number: int) -> ModelRequest:
        """Wait for the request with this number, counted from 1, and return it."""
        await self._wait(lambda: len(self.requests) >= number)
        return self.requests[number - 1]

    async def wait_closed(self, count: int) -> None:
        """Wait until ``count`` streams have been left, those of titles included."""
        await self._wait(lambda: self.closed_streams >= count)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Open one streaming request; see the protocol."""
        answer = _Playing(self._take_answer(request))
        self.open_streams += 1
        try:
            if self._strict and (wrong := complaint(request.messages)):
                raise status_error(400, wrong)
            await answer.open()
            yield answer
        finally:
            self.open_streams -= 1
            self.closed_streams += 1
            self.abandoned_streams += not answer.complete
            self._change()

    def _take_answer(self, request: ModelRequest) -> list[Move]:
        """Record a request and choose its answer, in one step."""
        request = attrs.evolve(request, messages=tuple(request.messages))
        is_title = request.options.max_tokens == TITLE_TOKENS and not request.tools
        (self.title_requests if is_title else self.requests).append(request)
        self._change()
        answer: Answer | None = self._title if is_title else None
        if answer is None and self._respond is not None:
            answer = self._respond(request)
        if answer is None:
            answer = self._script.popleft() if self._script else "ok"
        played = moves(operations(answer), lambda: f"call_{next(self._call_numbers)}")
        return [self._with_gate(move) for move in played]

    def _with_gate(self, move: Move) -> Move:
        if isinstance(move, WaitFor) and isinstance(move.event, str):
            return WaitFor(self._gate(move.event))
        return move

    def _gate(self, name: str) -> trio.Event:
        return self._gates.setdefault(name, trio.Event())

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait(self, come: Callable[[], bool]) -> None:
        while not come():
            await self._changed.wait()
        await trio.lowlevel.checkpoint()


class _Playing:
    """One answer being played."""

    def __init__(self, script: list[Move]) -> None:
        self._moves = deque(script)
        self.complete = False

    async def open(self) -> None:
        """Carry out a failure that comes before anything else, which has no stream at all."""
        await trio.lowlevel.checkpoint()
        first = next((move for move in self._moves if not isinstance(move, WAITS)), None)
        if isinstance(first, Fail):
            await anext(self)

    def __aiter__(self) -> _Playing:
        return self

    async def __anext__(self) -> Delta:
        await trio.lowlevel.checkpoint()
        while self._moves:
            match self._moves.popleft():
                case Pause(seconds=seconds):
                    await trio.sleep(seconds)
                case WaitFor(event=event):
                    assert not isinstance(event, str)
                    await event.wait()
                case Hang():
                    await trio.sleep_forever()
                case Fail(error=error):
                    # A script may hold one error several times; each raise is its own.
                    self._moves.clear()
                    raise copy.copy(error)
                case Cut():
                    self._moves.clear()
                    raise transport_error("the connection broke in the middle of the answer")
                case delta:
                    self.complete = isinstance(delta, StreamEnd)
                    return delta
        raise StopAsyncIteration
