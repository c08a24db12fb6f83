"""Ctrl-C: the first one cancels what runs on the server, the second one leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import trio

from crush_trio.cli.output import Output


class Interrupts:
    """What Ctrl-C does at the moment.

    Args:
        leaving: Cancelled to leave at once.

    Attributes:
        count: How often it was pressed.
        on_first: Called for the first one; while it is None the first one leaves already.
    """

    def __init__(self, leaving: trio.CancelScope, output: Output) -> None:
        self.count = 0
        self.on_first: Callable[[], None] | None = None
        self._leaving = leaving
        self._output = output

    def __repr__(self) -> str:
        return f"<Interrupts {self.count}>"

    async def heed(self, signals: AsyncIterator[int]) -> None:
        """Do what each signal asks for, until cancelled."""
        async for _ in signals:
            self.count += 1
            if self.count > 1 or self.on_first is None:
                self._leaving.cancel("interrupted")
                return
            self._output.note("cancelling; Ctrl-C again leaves at once")
            self.on_first()
