"""The instrument that counts a program's steps, and strikes at one of them."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio
import trio.abc

from crush_trio.testing.program import is_program


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """Numbers the scheduling steps of the program's own tasks, while it is on.

    Attributes:
        strike_at: The number of the step before which ``strike`` is called, once; None for never.
        strike: Something sync.
        watch: Called before each numbered step; for the run that is not struck.
        trace: The names of all tasks that ran, in order, up to the strike.
        count: How many steps were numbered.
        places: Where each numbered step is in the trace.
        struck: Whether the strike has happened.
    """

    strike_at: int | None = None
    strike: Callable[[], None] = lambda: None
    watch: Callable[[], None] | None = None
    trace: list[str] = attrs.field(factory=list[str])
    count: int = 0
    places: list[int] = attrs.field(factory=list[int])
    struck: bool = False
    on: bool = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Number a step."""
        if not self.on:
            return
        if is_program(task):
            if self.count == self.strike_at:
                self.on, self.struck = False, True
                self.strike()
                return
            if self.watch is not None:
                self.watch()
                self.places.append(len(self.trace))
            self.count += 1
        self.trace.append(task.name)
