"""What a scripted model can be told to do, and what that is as a sequence of moves.

An answer is a list of operations, read from top to bottom::

    [Think("They want a list."), Say("Let me look."), Call("bash", {"command": "ls"})]

Pure: :func:`moves` turns it into the deltas and waits that a provider's answer consists of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from crush_trio.errors import ProviderError
from crush_trio.messages import FinishReason
from crush_trio.providers.base import (
    Delta,
    ReasoningDelta,
    ReasoningEnd,
    StreamEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from crush_trio.providers.failures import status_error, stream_error

DEFAULT_USAGE = Usage(input=100, output=10)
"""What an answer reports if its script says nothing else."""


@attrs.frozen
class Say:
    """Stream a text: word by word, or ``chunk`` characters at a time, ``pause`` seconds between."""

    text: str
    chunk: int | None = attrs.field(default=None, kw_only=True)
    pause: float = attrs.field(default=0.0, kw_only=True)


@attrs.frozen
class Think:
    """Stream reasoning, in the same way as :class:`Say`."""

    text: str
    chunk: int | None = attrs.field(default=None, kw_only=True)
    pause: float = attrs.field(default=0.0, kw_only=True)


@attrs.frozen
class Call:
    """Call a tool. Arguments that are text are sent as they are, even if they are not JSON.

    Without an id the model numbers its calls: ``call_1``, ``call_2``, ... over all its answers.
    """

    name: str
    arguments: Mapping[str, Any] | str = attrs.field(factory=dict[str, Any])
    id: str = attrs.field(default="", kw_only=True)
    chunk: int | None = attrs.field(default=None, kw_only=True)
    pause: float = attrs.field(default=0.0, kw_only=True)

    @property
    def json(self) -> str:
        """The arguments as they are sent."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@attrs.frozen
class Pause:
    """Wait this many seconds."""

    seconds: float


@attrs.frozen
class WaitFor:
    """Wait until somebody sets the event, or opens the model's gate of this name."""

    event: trio.Event | str


@attrs.frozen
class Hang:
    """Send nothing more until the caller goes away."""


@attrs.frozen
class Fail:
    """Fail with this error.

    As the first operation it is the answer's HTTP status, else an error inside the stream: over HTTP
    its status is lost then, and in a file. :func:`failing` makes the usual ones.
    """

    error: ProviderError


@attrs.frozen
class Cut:
    """Break the connection."""


@attrs.frozen
class Report:
    """Report this usage, or none at all."""

    usage: Usage | None


@attrs.frozen
class Finish:
    """End with this reason; by default it is what the answer held."""

    reason: FinishReason


Op = Say | Think | Call | Pause | WaitFor | Hang | Fail | Cut | Report | Finish
Answer = str | Op | Sequence[Op]
Move = Delta | Pause | WaitFor | Hang | Fail | Cut
WAITS = (Pause, WaitFor, Hang)
"""The moves that nobody sees, but as time."""


FAILURES: Mapping[str, int | None] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "too_large": 413,
    "rate_limited": 429,
    "server_error": 500,
    "overloaded": 529,
    "in_stream": None,
}
"""The classes of failures that a provider has, by name, and the status of each; the last has none."""


def failing(
    kind: str | int,
    message: str = "",
    *,
    retry_after: float | None = None,
    retryable: bool | None = None,
) -> Fail:
    """Return a failure of one class.

    Args:
        kind: One of :data:`FAILURES`, or an HTTP status.
        message: What the provider says; the class if it says nothing.
        retry_after: Seconds that it asks to wait.
        retryable: Whether it says that trying again helps; if None, the class tells.

    Raises:
        ValueError: there is no such class, or a status that is no failure.
    """
    if isinstance(kind, str) and kind not in FAILURES:
        raise ValueError(f"no such failure: {kind!r}; there are {', '.join(FAILURES)}")
    status = FAILURES[kind] if isinstance(kind, str) else kind
    message = message or f"scripted failure: {str(kind).replace('_', ' ')}"
    if status is None:
        return Fail(stream_error(message, retryable=bool(retryable)))
    if not 400 <= status <= 599:
        raise ValueError(f"a failure's status is 400 to 599, not {status}")
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    if retryable is not None:
        headers["x-should-retry"] = str(retryable).lower()
    return Fail(status_error(status, message, headers))


def inside(failure: Fail) -> Fail:
    """Return what a failure is once the answer has begun: an error without a status."""
    error = failure.error
    if error.http_status is None:
        return failure
    return Fail(stream_error(str(error), retryable=error.retryable))


def operations(answer: Answer) -> Sequence[Op]:
    """Return an answer in its long form: a text is said, an operation is a list of one."""
    if isinstance(answer, str):
        return [Say(answer)]
    return answer if isinstance(answer, Sequence) else [answer]


def moves(ops: Sequence[Op], next_call_id: Callable[[], str]) -> list[Move]:
    """Return the deltas and waits that carry out ``ops``, in order, with a proper end."""
    done: list[Move] = []
    ends: list[ToolCallEnd] = []
    usage: Usage | None = DEFAULT_USAGE
    reason: FinishReason | None = None
    thinking = False
    for op in ops:
        if thinking and isinstance(op, Say | Call):
            done.append(ReasoningEnd())
            thinking = False
        match op:
            case Say() | Think():
                thinking = isinstance(op, Think)
                done += _spoken(op)
            case Call():
                call = attrs.evolve(op, id=op.id or next_call_id())
                done += _called(call)
                ends.append(ToolCallEnd(call.id, call.name, call.json or "{}"))
            case Report():
                usage = op.usage
            case Finish():
                reason = op.reason
            case _:
                done.append(op)
    if thinking:
        done.append(ReasoningEnd())
    done += ends
    if usage is not None:
        done.append(usage)
    # Whatever was said, an answer with calls ends with calls (agent contract 1.23).
    done.append(StreamEnd("tool_use" if ends else reason or "end_turn"))
    return done


def _spoken(op: Say | Think) -> Iterator[Move]:
    kind = TextDelta if isinstance(op, Say) else ReasoningDelta
    words = re.findall(r"\S+\s*|\s+", op.text)
    return _paced([kind(text) for text in _pieces(op.text, op.chunk) or words], op.pause)


def _called(call: Call) -> Iterator[Move]:
    yield ToolCallStart(call.id, call.name)
    fragments = _pieces(call.json, call.chunk or len(call.json))
    yield from _paced([ToolCallArgs(call.id, text) for text in fragments], call.pause)


def _pieces(text: str, size: int | None) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)] if size else []


def _paced(deltas: Sequence[Delta], pause: float) -> Iterator[Move]:
    for number, delta in enumerate(deltas):
        if number and pause:
            yield Pause(pause)
        yield delta
