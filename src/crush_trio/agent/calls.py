"""Carrying out the tool calls of one step (agent contract 1.9).

Serial tools run in the model's order, one after the other; parallel ones beside them, at most
:data:`PARALLEL` at once. Whatever goes wrong inside a tool becomes a result that the model can
read; only a cancel passes, and then the calls without a result are answered by the turn's end.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import trio

from crush_trio.agent.repair import BROKEN_ARGUMENTS, repair_arguments
from crush_trio.errors import error_text
from crush_trio.messages import ToolCall, ToolResult, encodable
from crush_trio.tools.base import Tool, ToolAnswer, ToolContext, error

logger = logging.getLogger(__name__)

PARALLEL = 5
"""Parallel tools of one step that run at once (agent contract 9.3)."""


def mended(arguments: str) -> str | None:
    """Return a call's arguments as JSON text, repaired if they must be; None if they cannot be."""
    arguments = encodable(arguments)
    try:
        msgspec.json.decode(arguments, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return repair_arguments(arguments)
    return arguments


async def run_calls(
    calls: Sequence[ToolCall],
    broken: frozenset[str],
    tools: Mapping[str, Tool],
    context: Callable[[ToolCall], ToolContext],
    answered: Callable[[ToolCall, ToolAnswer], Awaitable[None]],
) -> bool:
    """Run the calls of a step; return whether one of them asks the turn to stop.

    Args:
        calls: In the model's order.
        broken: Ids of calls whose arguments were beyond repair.
        tools: What there is, by name.
        context: Gives each call its place.
        answered: Awaited with each result as it comes.
    """
    stop = False
    limiter = trio.CapacityLimiter(PARALLEL)

    async def carry_out(call: ToolCall) -> None:
        nonlocal stop
        if call.id in broken:
            answer = error(BROKEN_ARGUMENTS)
        else:
            answer = await _run_one(call, tools, context(call))
        stop = stop or answer.stop_turn
        await answered(call, answer)

    async def limited(call: ToolCall) -> None:
        async with limiter:
            await carry_out(call)

    async with trio.open_nursery() as nursery:
        for call in calls:
            tool = tools.get(call.name)
            if tool is not None and tool.parallel:
                nursery.start_soon(limited, call, name=f"tool {call.name}")
            else:
                await carry_out(call)
    return stop


async def _run_one(call: ToolCall, tools: Mapping[str, Tool], context: ToolContext) -> ToolAnswer:
    """Run one tool. An error of it stays here (C3), and so do its wish to exit and a cancel of its own.

    A cancel that escapes from a tool although nobody has cancelled it would be taken for ours: the
    nursery around the calls would end them all and say nothing.
    """
    tool = tools.get(call.name)
    if tool is None:
        return error(f"tool not found: {call.name}. Available tools: {', '.join(sorted(tools))}")
    answer: ToolAnswer | None = None
    try:
        answer = await tool.run(call.input, context)
        _ = answer.metadata_text  # encoded here too: what cannot be told is the tool's error
    except* (Exception, SystemExit) as group:
        logger.exception("tool %s raised", call.name)
        answer = error(f"the tool {call.name} failed: {error_text(group)}")
    except* trio.Cancelled:
        if trio.current_effective_deadline() == -math.inf:
            raise
        logger.exception("tool %s raised a cancel of its own", call.name)
        answer = answer or error(f"the tool {call.name} failed: it was cancelled from within")
    assert answer is not None
    return answer


def tool_result(call: ToolCall, answer: ToolAnswer) -> ToolResult:
    """Return a tool's answer in its stored form; file names may hold what cannot be encoded."""
    content = answer.content or (f"Loaded {answer.mime_type} content" if answer.data else "")
    return ToolResult(
        call.id,
        call.name,
        encodable(content),
        answer.data,
        answer.mime_type,
        encodable(answer.metadata_text),
        answer.is_error,
    )
