"""The sweep of one scenario with one disturbance, which the environment names; for ``run.py``."""

from __future__ import annotations

import os

from crush_trio.testing import sweep
from crush_trio.testing.scenarios import SCENARIOS
from witness import SWEEP


def test_every_step_keeps_the_promises() -> None:
    scenario, disturbance = os.environ[SWEEP].split(" / ")
    found = sweep(SCENARIOS[scenario], [disturbance]).violations
    assert not found, f"{len(found)} violations, the first: {found[0]}"
