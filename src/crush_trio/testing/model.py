"""The model of a simulated world, as one can watch it: where each run's turn stands with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import attrs
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.base import Delta, ModelRequest, Provider, TextDelta, ToolCallEnd
from crush_trio.providers.scripted import Answer, ScriptedModel
from crush_trio.runs import Run

Standing = Literal["accepted", "streaming", "tool", "retry", "concluding"]
"""What a turn is at: before its model, being answered, in its tools, waiting to try again, done."""


def said_last(request: ModelRequest) -> str:
    """Return the text of the last message that a user wrote."""
    users = (message for message in reversed(request.messages) if message.role == "user")
    return next((message.text for message in users), "")


class Answers:
    """What a model answers, by the prompt that it was sent last.

    Args:
        by_prompt: The answers to the requests of one prompt, in order; a prompt that is posted
            again begins anew. What is not in it, and what comes after it, is answered with
            :func:`plain_answer`.
    """

    def __init__(self, by_prompt: Mapping[str, Sequence[Answer]]) -> None:
        self._by_prompt = by_prompt
        self._asked: Counter[tuple[str, str, int]] = Counter()

    def __call__(self, request: ModelRequest) -> Answer:
        """Return the next answer to a prompt."""
        prompt = said_last(request)
        prompts = sum(message.role == "user" for message in request.messages)
        key = (request.session_key, prompt, prompts)
        number = self._asked[key]
        self._asked[key] += 1
        script = self._by_prompt.get(prompt, ())
        return script[number] if number < len(script) else plain_answer(prompt)


def plain_answer(prompt: str) -> str:
    """Return what a prompt is answered that no script knows."""
    return f"answer to {prompt}"


def scripted_model(
    by_prompt: Mapping[str, Sequence[Answer]], title: Answer = "A title"
) -> ScriptedModel:
    """Return a model that answers by prompt, and refuses ill-formed conversations."""
    return ScriptedModel(respond=Answers(by_prompt), title=title)


@attrs.define(eq=False)
class WatchedModel:
    """A provider that notes where each session's turn stands.

    Attributes:
        model: What answers.
        active: Returns the active run of a session.
        changed: Called when an answer has come to its end.
        open_streams: How many answers are being read, titles included.
        withdrawn: What was said in answers that then failed.
        spoken: What each session's present answer has said so far, and when.
    """

    model: Provider
    active: Callable[[str], Run | None] = lambda _: None
    changed: Callable[[], None] = lambda: None
    open_streams: int = 0
    spoken: dict[str, list[tuple[float, str]]] = attrs.field(
        factory=dict[str, "list[tuple[float, str]]"]
    )
    withdrawn: list[str] = attrs.field(factory=list[str])
    _standing: dict[str, tuple[Run | None, Standing]] = attrs.field(
        factory=dict[str, "tuple[Run | None, Standing]"]
    )

    def standing(self, run: Run) -> Standing:
        """Return where the turn of an active run stands. Not a checkpoint."""
        known, standing = self._standing.get(run.session_id, (None, "accepted"))
        return standing if known is run else "accepted"

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Open one streaming request; see the protocol."""
        session = request.session_key if request.tools else ""  # a title has no tools
        reading: _Reading | None = None
        self.open_streams += 1
        self._stand(session, "streaming")
        spoken = self.spoken[session] = []
        try:
            async with self.model.stream(request) as deltas:
                reading = _Reading(deltas, spoken)
                yield reading
        except ProviderError:
            self._stand(session, "retry")
            self.withdrawn.append("".join(text for _, text in spoken))
            raise
        except BaseException:
            self._stand(session, "concluding")
            raise
        else:
            self._stand(session, "tool" if reading and reading.calls else "concluding")
        finally:
            self.open_streams -= 1
            self.changed()

    def _stand(self, session: str, standing: Standing) -> None:
        self._standing[session] = (self.active(session), standing)


class _Reading:
    """One answer being read, and whether it holds calls."""

    def __init__(self, deltas: AsyncIterator[Delta], spoken: list[tuple[float, str]]) -> None:
        self._deltas = deltas
        self._spoken = spoken
        self.calls = 0

    def __aiter__(self) -> _Reading:
        return self

    async def __anext__(self) -> Delta:
        delta = await anext(self._deltas)
        self.calls += isinstance(delta, ToolCallEnd)
        if isinstance(delta, TextDelta):
            self._spoken.append((trio.current_time(), delta.text))
        return delta
