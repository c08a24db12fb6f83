"""Cancel any async callable at every one of its steps, and look at what it leaves.

Synopsis::

    async def scenario() -> None:
        await my_tool("file.txt")

    def test_my_tool_cleans_up_wherever_it_is_cancelled() -> None:
        sweep_callable(scenario).check()

The callable runs once, and its scheduling steps are numbered: they are all the places where a
cancel can reach it. Then it runs again for each number, and its scope is cancelled at that very
step. After each run nothing of it may be left, and the cancel must have come out again.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import attrs
import trio
from trio.lowlevel import Task

from crush_trio.testing.leftovers import Leftovers
from crush_trio.testing.program import as_program, is_program
from crush_trio.testing.running import run

STRUCK = "struck by the sweep"
"""The reason that our cancel carries, by which we know it again."""

PROGRAM = "program"
"""What the task is called that calls the callable."""

AsyncCallable = Callable[[], Awaitable[object]]

Check = Callable[[], object]


@attrs.frozen
class Finding:
    """What was wrong after one run.

    Attributes:
        point: The step at which it was cancelled; 0 for the run that was not.
        place: Where the callable stood.
        what: What was wrong.
    """

    point: int
    place: str
    what: str

    def __str__(self) -> str:
        if not self.point:
            return f"without any cancel: {self.what}"
        return f"cancelled at step {self.point}, {self.place}: {self.what}"


@attrs.frozen
class CallableReport:
    """What a sweep found.

    Attributes:
        name: Of the callable.
        seed: Of every run.
        points: How many steps the callable has.
        strikes: How many runs were cancelled.
        faults: What was wrong.
    """

    name: str
    seed: int
    points: int
    strikes: int
    faults: tuple[Finding, ...]

    def __str__(self) -> str:
        head = f"{self.name}: {self.points} steps, {self.strikes} cancels, seed {self.seed}"
        if not self.faults:
            return f"{head}: clean"
        first = self.faults[0].point
        again = f"sweep_callable({self.name}, seed={self.seed}, points=[{first}]) plays it again"
        return "\n  ".join([f"{head}: {len(self.faults)} faults", *map(str, self.faults), again])

    def check(self) -> None:
        """Fail the test if something was wrong, or if nothing was cancelled.

        Raises:
            AssertionError: with every fault and the way to see it again.
        """
        __tracebackhide__ = True  # pytest shows where it was called
        if self.faults or not self.strikes:
            raise AssertionError(str(self) if self.faults else f"{self}: nothing was cancelled")


@attrs.define(eq=False)
class _Watch(trio.abc.Instrument):
    """Numbers the steps of the callable's tasks, and cancels its scope at one of them.

    Attributes:
        strike: The step to cancel at; 0 cancels nothing.
        place: Where the callable stood then.
        delivered: Whether the cancel has reached a task.
    """

    strike: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    steps: int = 0
    place: str = ""
    delivered: bool = False
    tasks: dict[Task, None] = attrs.field(factory=dict[Task, None])

    def task_spawned(self, task: Task) -> None:
        """Remember a task of the callable's."""
        if is_program(task):
            self.tasks[task] = None

    def task_exited(self, task: Task) -> None:
        """Forget a task."""
        self.tasks.pop(task, None)

    def before_task_step(self, task: Task) -> None:
        """Count a step; cancel if it is the one."""
        if not is_program(task):
            return
        self.steps += 1
        if self.steps == self.strike:
            self.place = _place(task)
            self.scope.cancel(STRUCK)
        # What a task is about to be given: private to Trio, and only read.
        error = getattr(getattr(task, "_next_send", None), "error", None)
        if isinstance(error, trio.Cancelled) and getattr(error, "reason", None) == STRUCK:
            self.delivered = True


def _place(task: Task) -> str:
    """Return where a task stands, in the callable's own code if it is there."""
    frames = [(frame, line) for frame, line in task.iter_await_frames() if not _is_ours(frame)]
    if not frames:
        return "at the beginning" if task.name == PROGRAM else f"at the beginning of {task.name}"
    frame, line = frames[-1]
    code = frame.f_code
    return f"{code.co_filename}:{line} in {code.co_name}"


def _is_ours(frame: object) -> bool:
    """Whether a frame is Trio's or the sweep's, where no author looks for a fault."""
    name: str = getattr(frame, "f_globals", {}).get("__name__", "")
    return name.partition(".")[0] in {"trio", "outcome", "contextlib"} or name == __name__


def sweep_callable(
    async_fn: AsyncCallable,
    *,
    check: Check | None = None,
    seed: int = 0,
    simulated: bool = True,
    patience: float = 60.0,
    points: Iterable[int] | None = None,
) -> CallableReport:
    """Run ``async_fn`` once whole, and once for each of its steps with a cancel at that step.

    After each run: no task, child process or file descriptor of it is left; a cancel that reached
    it has come out again, neither swallowed nor turned into an error; it has ended in time.

    Args:
        async_fn: What is swept. It must make all that it needs anew each time.
        check: Called after each run, in it; sync or async. What it raises is a fault.
        seed: Decides the order of scheduling, and every id.
        simulated: In virtual time, where threads, processes and sockets raise. Without it the
            callable has the real ones; its steps then depend on their timing, and a point that a
            run does not reach is not counted as a strike.
        patience: Seconds, virtual if simulated, that one run may take.
        points: The steps to cancel at; all of them if None.
    """
    name = getattr(async_fn, "__qualname__", repr(async_fn))
    play = partial(_play, async_fn, check, seed, simulated, patience)
    watch, faults = play(0)
    chosen: Sequence[int] = range(1, watch.steps + 1) if points is None else list(points)
    struck = 0
    if not faults:
        for point in chosen:
            again, found = play(point)
            struck += again.scope.cancel_called
            faults += found
    return CallableReport(name, seed, watch.steps, struck, tuple(faults))


def _play(
    async_fn: AsyncCallable,
    check: Check | None,
    seed: int,
    simulated: bool,
    patience: float,
    strike: int,
) -> tuple[_Watch, list[Finding]]:
    """Run the callable once; return what was wrong."""
    watch, wrong = _Watch(strike), list[str]()
    main = partial(_main, async_fn, check, patience, watch, wrong)
    leftovers = Leftovers()
    if simulated:
        run(main, seed=seed, instruments=[watch])
    else:
        trio.run(main, instruments=[watch])
    wrong += leftovers.found()
    return watch, [Finding(strike, watch.place, each) for each in wrong]


async def _main(
    async_fn: AsyncCallable,
    check: Check | None,
    patience: float,
    watch: _Watch,
    wrong: list[str],
) -> None:
    ended = trio.Event()

    async def program() -> None:
        try:
            wrong.extend(await _call(async_fn, watch))
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        as_program(nursery.start_soon, program, name=PROGRAM)
        with trio.move_on_after(patience):
            await ended.wait()
        if not ended.is_set():
            wrong.append(f"it had not ended after {patience} s: {_standing(watch)}")
            _abandon(watch)
            await ended.wait()
    wrong.extend(f"the task {task.name} is left" for task in watch.tasks)
    wrong.extend(await _checked(check))


async def _call(async_fn: AsyncCallable, watch: _Watch) -> list[str]:
    """Call it in its scope; return what came out that should not."""
    try:
        with watch.scope:
            await async_fn()
    except _AbandonedError:
        return []
    except Exception as error:  # noqa: BLE001 -- reported
        return [f"it raised {error!r}" if not watch.strike else f"the cancel became {error!r}"]
    if watch.delivered and not watch.scope.cancelled_caught:
        return ["it swallowed trio.Cancelled"]
    return []


async def _checked(check: Check | None) -> list[str]:
    """Call the check; return what it says."""
    if check is None:
        return []
    try:
        result = check()
        if inspect.isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 -- reported
        return [f"the check failed: {error!r}"]
    return []


# --- a callable that does not end ----------------------------------------------------------


class _AbandonedError(BaseException):
    """Thrown into what does not end, so that the sweep can go on."""


def _standing(watch: _Watch) -> str:
    return ", ".join(f"{task.name} {_place(task)}" for task in watch.tasks)


def _abandon(watch: _Watch) -> None:
    """Throw an error into every task that waits, whatever shields it. Uses a private of Trio's."""

    def give_up() -> object:
        raise _AbandonedError

    for task in list(watch.tasks):
        if getattr(task, "_abort_func", None) is not None:
            task._attempt_abort(give_up)  # type: ignore[attr-defined]  # noqa: SLF001
