"""The stories that the promises are swept with, as plain data.

Each is small, because it is played once for every step that it takes, and again for every
disturbance. ``SCENARIOS`` has all of them by name.
"""

from __future__ import annotations

from crush_trio.testing.scenario import Scenario
from crush_trio.testing.scenarios import ends, people, prompts, queues, tools

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for module in (prompts, queues, tools, people, ends)
    for scenario in module.SCENARIOS
}
"""Every scenario by its name."""

STANDARD = SCENARIOS["a prompt with tools and one behind it"]
"""The story that figures are measured with."""
