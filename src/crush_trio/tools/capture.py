"""What a process wrote, in bounded memory: the beginning and the end, and how much is between them.

Below the processes that fill it and the texts that are made of it. Knows no processes and no
limits of what a model is shown; it only keeps more than those ask for.
"""

from __future__ import annotations

import attrs

KEEP = 128 * 2**10
"""Bytes kept of either end: twice what 15,000 columns of four-byte characters take (agent 2.4)."""


@attrs.frozen
class Captured:
    """Output as text.

    Attributes:
        head: All of it, or its beginning.
        tail: Its end, if something between the two was thrown away.
        lost_lines: Line ends in what was thrown away; None when everything is in ``head``.
    """

    head: str
    tail: str = ""
    lost_lines: int | None = None


@attrs.define(eq=False)
class Capture:
    """Collects one stream of output; memory stays below four times ``keep`` bytes."""

    keep: int = KEEP
    _head: bytearray = attrs.field(factory=bytearray, init=False)
    _tail: bytearray = attrs.field(factory=bytearray, init=False)
    _lost: int = attrs.field(default=0, init=False)
    _lost_lines: int = attrs.field(default=0, init=False)

    def add(self, chunk: bytes | bytearray) -> None:
        """Take in more output. Not a checkpoint."""
        room = self.keep - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        surplus = len(self._tail) - self.keep
        if surplus > self.keep:  # a large stride: trimming every chunk would be quadratic
            self._lost += surplus
            self._lost_lines += self._tail.count(b"\n", 0, surplus)
            del self._tail[:surplus]

    def text(self) -> Captured:
        """Return what there is so far; what is not UTF-8 is replaced."""
        if not self._lost:
            return Captured((self._head + self._tail).decode(errors="replace"))
        head, tail = self._head.decode(errors="replace"), self._tail.decode(errors="replace")
        return Captured(head, tail, self._lost_lines)
