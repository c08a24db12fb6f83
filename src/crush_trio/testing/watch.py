"""The instrument that numbers the steps of any callable's tasks, cancels at one, and knows where."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import FrameType

import attrs
import trio
from trio.lowlevel import Task

from crush_trio.testing.program import is_program

STRUCK = "struck by the sweep"
"""The reason that our cancel carries, by which we know it again."""

PROGRAM = "program"
"""What the task is called that calls the callable."""

OURS = ("crush_trio.testing.callables", "crush_trio.testing.watch")
"""Where no author looks for a fault of his."""


@attrs.define(eq=False)
class Watch(trio.abc.Instrument):
    """Numbers the steps of the callable's tasks, and cancels its scope at one of them.

    Attributes:
        strike: The step to cancel at; 0 cancels nothing.
        place: Where the callable stood then.
        raised_at: Where the cancel first reached a task; empty if it reached none.
        tasks: The callable's, as long as they live.
        strangers: System tasks that live and began after the callable.
    """

    strike: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    steps: int = 0
    place: str = ""
    raised_at: str = ""
    tasks: dict[Task, None] = attrs.field(factory=dict[Task, None])
    strangers: dict[Task, None] = attrs.field(factory=dict[Task, None])

    def task_spawned(self, task: Task) -> None:
        """Remember a task of the callable's, or of nobody's."""
        if is_program(task):
            self.tasks[task] = None
        elif self.tasks and _is_system(task):
            self.strangers[task] = None

    def task_exited(self, task: Task) -> None:
        """Forget a task."""
        self.tasks.pop(task, None)
        self.strangers.pop(task, None)

    def before_task_step(self, task: Task) -> None:
        """Count a step; cancel if it is the one."""
        if not is_program(task):
            return
        self.steps += 1
        if self.steps == self.strike:
            self.place = place(task)
            self.scope.cancel(STRUCK)
        # What a task is about to be given: private to Trio, and only read.
        error = getattr(getattr(task, "_next_send", None), "error", None)
        if isinstance(error, trio.Cancelled) and getattr(error, "reason", None) == STRUCK:
            self.raised_at = self.raised_at or place(task)

    def left(self) -> list[str]:
        """Return the names of the tasks that live."""
        return [task.name for task in (*self.tasks, *self.strangers)]

    def standing(self) -> str:
        """Return where the callable's tasks stand."""
        return ", ".join(f"{task.name} {place(task)}" for task in self.tasks)


def _is_system(task: Task) -> bool:
    """Whether a task has no owner but Trio."""
    nursery = task.parent_nursery
    return nursery is not None and nursery.parent_task is trio.lowlevel.current_root_task()


def place(task: Task) -> str:
    """Return where a task stands, in the callable's own code if it is there."""
    frames = [(frame, line) for frame, line in task.iter_await_frames() if not _is_ours(frame)]
    if not frames:
        return "at the beginning" if task.name == PROGRAM else f"at the beginning of {task.name}"
    frame, line = frames[-1]
    return f"{_shown(frame.f_code.co_filename)}:{line} in {frame.f_code.co_name}"


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame is Trio's or the sweep's."""
    name: str = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in {"trio", "outcome", "contextlib"} or name in OURS


def _shown(path: str) -> str:
    """Return a path as one would type it here."""
    return os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path  # noqa: PTH109 -- text


# --- a callable that does not end ----------------------------------------------------------


class AbandonedError(BaseException):
    """Thrown into what does not end, so that the sweep can go on."""


def abandon(tasks: Iterable[Task]) -> None:
    """Throw an error into every task that waits, whatever shields it. Uses a private of Trio's."""

    def give_up() -> object:
        raise AbandonedError

    for task in list(tasks):
        if getattr(task, "_abort_func", None) is not None:
            task._attempt_abort(give_up)  # type: ignore[attr-defined]  # noqa: SLF001
