"""Which tasks are the program's, and which the test's.

A context variable is set at the program's root; what is started there inherits it, as contexts do.
The sweep numbers the steps of the program's tasks only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import partial
from typing import ParamSpec, TypeVar

import trio

P = ParamSpec("P")
T = TypeVar("T")

_PROGRAM: ContextVar[bool] = ContextVar("crush_trio_program", default=False)


def is_program(task: trio.lowlevel.Task) -> bool:
    """Whether a task belongs to the program under test."""
    return task.context.get(_PROGRAM, False)


def as_program(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a sync function as the program would: the tasks that it starts are the program's."""
    return _marked(True, partial(function, *args, **kwargs))


def as_test(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a sync function as the test would, from wherever this is called."""
    return _marked(False, partial(function, *args, **kwargs))


def _marked(program: bool, function: Callable[[], T]) -> T:
    def call() -> T:
        _PROGRAM.set(program)
        return function()

    return copy_context().run(call)
