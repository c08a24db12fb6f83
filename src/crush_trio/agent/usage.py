"""What a step costs (agent contract 1.14). Pure."""

from __future__ import annotations

from crush_trio.providers.base import ModelMessage, Usage
from crush_trio.wire.config import Model

BYTES_A_TOKEN = 4
"""Estimate for providers that report nothing (agent contract 1.14)."""


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
