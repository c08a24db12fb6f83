"""What a step costs (agent contract 1.14). Pure."""

from __future__ import annotations

import attrs

from crush_trio.providers.base import ModelMessage, Usage
from crush_trio.wire.config import Model

BYTES_A_TOKEN = 4
"""Estimate for providers that report nothing (agent contract 1.14)."""


MOST_TOKENS = 2**53 - 1
"""More than any request has, and what every reader of JSON can tell from its neighbour."""

MOST_DOLLARS = 1e9
"""More than any request costs; sums of it stay finite."""


def believable(usage: Usage) -> Usage:
    """Return what a provider counted, without what cannot be: a good answer is not lost to it (C3)."""
    counts = {
        name: min(max(value, 0), MOST_TOKENS)
        for name, value in attrs.asdict(usage).items()
        if name != "cost"
    }
    told = usage.cost is not None and 0 <= usage.cost <= MOST_DOLLARS
    return Usage(**counts, cost=usage.cost if told else None)


def cost(usage: Usage, model: Model, *, flat_rate: bool = False) -> float:
    """Return dollars: what the provider says, else tokens times the model's prices a million."""
    if flat_rate:
        return 0.0
    if usage.cost is not None:
        return usage.cost
    return (
        model.cost_per_1m_in_cached / 1e6 * usage.cache_creation
        + model.cost_per_1m_out_cached / 1e6 * usage.cache_read
        + model.cost_per_1m_in / 1e6 * usage.input
        + model.cost_per_1m_out / 1e6 * usage.output
    )


def estimate(request: list[ModelMessage], answer: int) -> Usage:
    """Return a guess from the bytes of a request and of its answer; its cost is zero."""
    size = sum(
        len(message.text.encode()) + sum(len(call.arguments) for call in message.tool_calls)
        for message in request
    )
    return Usage(input=-(-size // BYTES_A_TOKEN), output=-(-answer // BYTES_A_TOKEN), cost=0.0)
