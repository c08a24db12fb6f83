"""What a step costs."""

from __future__ import annotations

import pytest

from crush_trio.agent.usage import cost, estimate
from crush_trio.providers.base import CalledTool, ModelMessage, Usage
from crush_trio.wire.config import Model

PRICED = Model(
    "m", cost_per_1m_in=3, cost_per_1m_out=15, cost_per_1m_in_cached=4, cost_per_1m_out_cached=1
)
USAGE = Usage(input=1_000_000, output=2_000_000, cache_creation=3_000_000, cache_read=4_000_000)


def test_tokens_are_priced_each_kind_by_its_own_price() -> None:
    """Cache creation by the price of cached input, cache reads by that of cached output (1.14)."""
    assert cost(USAGE, PRICED) == pytest.approx(3 + 30 + 12 + 4)


def test_what_the_provider_says_counts_and_a_flat_rate_costs_nothing() -> None:
    """The flat rate before anything else."""
    said = Usage(input=5, cost=0.25)
    assert cost(said, PRICED) == 0.25
    assert cost(said, PRICED, flat_rate=True) == 0


def test_without_a_report_bytes_are_counted() -> None:
    """A quarter of them, rounded up; for nothing."""
    call = CalledTool("c", "bash", "12345")
    request = [ModelMessage("user", text="é"), ModelMessage("assistant", tool_calls=(call,))]
    assert estimate(request, 5) == Usage(input=2, output=2, cost=0.0)
