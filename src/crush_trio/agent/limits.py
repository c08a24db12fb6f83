"""When a turn goes round in circles (agent contract 1.10). Pure."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable

from crush_trio.messages import ToolCall, ToolResult

WINDOW = 10
"""Steps that are looked at; a shorter turn is never stopped (agent contract 1.10)."""

REPEATS = 5
"""A step that occurs more often than this in the window is a loop (agent contract 1.10)."""


class LoopDetector:
    """Remembers the last steps of a turn and says when the same calls repeat."""

    def __init__(self) -> None:
        self._steps: deque[bytes | None] = deque(maxlen=WINDOW)

    def looping(self, results: Iterable[tuple[ToolCall, ToolResult]]) -> bool:
        """Take note of a step's calls with their results; return whether the turn must stop."""
        self._steps.append(_signature(list(results)))
        if len(self._steps) < WINDOW:
            return False
        counts = Counter(step for step in self._steps if step is not None)
        return any(count > REPEATS for count in counts.values())


def _signature(results: list[tuple[ToolCall, ToolResult]]) -> bytes | None:
    if not results:
        return None
    digest = hashlib.sha256()
    for call, result in results:
        for text in (call.name, call.input, result.data or result.content):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.digest()
