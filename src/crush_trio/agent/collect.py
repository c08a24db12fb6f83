"""Letting a model write a draft: one request, its retries, and what came of it (agent contract 1.8).

Above it are the turn and the summary; below it the draft and the provider. While the model writes,
a task beside it keeps the draft stored.
"""

from __future__ import annotations

import attrs
import trio

from crush_trio.agent.calls import mended
from crush_trio.agent.draft import Draft
from crush_trio.agent.fairness import FairDeltas
from crush_trio.agent.usage import believable, estimate
from crush_trio.errors import ProviderError
from crush_trio.messages import encodable
from crush_trio.providers.base import (
    Delta,
    ModelRequest,
    Provider,
    ReasoningDelta,
    ReasoningEnd,
    StreamEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from crush_trio.providers.retry import final_error, next_delay


@attrs.define(eq=False)
class Collected:
    """What one request has brought so far, beside the draft itself.

    Attributes:
        usage: As the provider counted, or an estimate once the model has ended.
        broken: Ids of tool calls whose arguments are beyond repair.
        repaired: Ids of tool calls whose arguments had to be mended.
    """

    usage: Usage = attrs.field(factory=Usage)
    broken: set[str] = attrs.field(factory=set[str])
    repaired: set[str] = attrs.field(factory=set[str])


async def collect(
    provider: Provider, request: ModelRequest, draft: Draft, collected: Collected
) -> StreamEnd:
    """Let the model write the draft while it is kept stored, and retry as the contract says.

    Returns when the model has ended; ``collected`` tells how far it came also if it failed.

    Raises:
        ProviderError: the provider failed for good.
        StoreError: what was written could not be stored (C2).
    """
    ends: list[StreamEnd] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(draft.keep_stored, name="draft")
        ends.append(await _stream_with_retries(provider, request, draft, collected))
        nursery.cancel_scope.cancel("the model has ended")
    if not ends:  # the nursery took a cancel that escaped from the provider for its own
        raise ProviderError("the provider was cancelled from within")
    if collected.usage == Usage():
        collected.usage = estimate(list(request.messages), draft.size)
    return ends[0]


async def _stream_with_retries(
    provider: Provider, request: ModelRequest, draft: Draft, collected: Collected
) -> StreamEnd:
    attempt = 0
    while True:
        try:
            return await _stream_once(provider, request, draft, collected)
        except ProviderError as error:
            delay = next_delay(error, attempt)
            if delay is None:
                raise final_error(error, attempt) from error
        attempt += 1
        draft.retract()
        await trio.sleep(delay)


async def _stream_once(
    provider: Provider, request: ModelRequest, draft: Draft, collected: Collected
) -> StreamEnd:
    collected.usage = Usage()
    collected.broken.clear()
    collected.repaired.clear()
    async with provider.stream(request) as deltas:
        async for delta in FairDeltas(deltas):
            if isinstance(delta, StreamEnd):
                draft.end_reasoning()
                if delta.reason == "max_tokens":
                    # The last call was cut off: mended, it would do half a thing.
                    collected.broken |= collected.repaired
                return delta
            _take(delta, draft, collected)
    raise ProviderError("the stream ended early", title="Stream transport error", retryable=True)


def _take(delta: Delta, draft: Draft, collected: Collected) -> None:
    match delta:
        case TextDelta(text):
            draft.end_reasoning()
            draft.add_text(text)
        case ReasoningDelta(text):
            draft.add_reasoning(text)
        case ReasoningEnd(signature):
            draft.end_reasoning(signature)
        case ToolCallStart(call_id, name):
            draft.end_reasoning()
            draft.start_call(_usable(call_id), encodable(name))
        case ToolCallEnd(call_id, name, arguments):
            _take_call(draft, collected, call_id, name, arguments)
        case Usage():
            collected.usage = believable(delta)
        case ToolCallArgs() | StreamEnd():
            pass


def _take_call(draft: Draft, collected: Collected, call_id: str, name: str, arguments: str) -> None:
    call_id, name, whole = _usable(call_id), encodable(name), mended(arguments)
    if whole is None:
        collected.broken.add(call_id)
    elif whole != encodable(arguments):
        collected.repaired.add(call_id)
    draft.end_call(call_id, name, "{}" if whole is None else whole)


def _usable(call_id: str) -> str:
    """Return the id of a call as it can be stored.

    Raises:
        ProviderError: there is none, so that no provider would take the conversation again (R9).
    """
    if not call_id:
        raise ProviderError("the provider announced a tool call without an id")
    return encodable(call_id)
