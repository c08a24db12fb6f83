"""The monitor: checks the promises on what passes by, in tests and in production."""

from __future__ import annotations

from crush_trio.monitor.ledger import Violation
from crush_trio.monitor.monitor import Monitor

__all__ = ["Monitor", "Violation"]
