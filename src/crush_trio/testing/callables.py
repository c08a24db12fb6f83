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

import gc
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import trio

from crush_trio.errors import sole
from crush_trio.testing.callable_report import CallableReport, Finding
from crush_trio.testing.leftovers import Leftovers
from crush_trio.testing.program import as_program
from crush_trio.testing.running import default_seed, run
from crush_trio.testing.watch import PROGRAM, AbandonedError, Watch, abandon

AsyncCallable = Callable[[], Awaitable[object]]

Check = Callable[[], object]


def sweep_callable(
    async_fn: AsyncCallable,
    *,
    check: Check | None = None,
    seed: int | None = None,
    simulated: bool = True,
    patience: float = 60.0,
    points: Iterable[int] | None = None,
) -> CallableReport:
    """Run ``async_fn`` once whole, and once for each of its steps with a cancel at that step.

    After each run: no task, nursery, child process or file descriptor of it is left, and nothing
    that Python had to close in its place (a ``ResourceWarning``); a cancel that reached it has come
    out again, neither swallowed nor turned into an error; it has ended in time.

    Args:
        async_fn: What is swept. It must make all that it needs anew each time.
        check: Called after each run, in it; sync or async. What it raises is a fault.
        seed: Decides the order of scheduling, and every id; by default ``--crush-seed``.
        simulated: In virtual time, where threads, processes and sockets raise. Without it the
            callable has the real ones; its steps then depend on their timing, and a point that a
            run does not reach is not counted as a strike.
        patience: Seconds, virtual if simulated, that one run may take.
        points: The steps to cancel at; all of them if None.
    """
    name = getattr(async_fn, "__name__", repr(async_fn))
    gc.collect()  # what others have left to the collector is not this callable's
    seed = default_seed() if seed is None else seed
    play = partial(_play, async_fn, check, seed, simulated, patience)
    watch, faults = play(0)
    chosen: Sequence[int] = range(1, watch.steps + 1) if points is None else list(points)
    struck = 0
    if not faults:
        for point in chosen:
            again, found = play(point)
            struck += again.scope.cancel_called
            faults += found
    return CallableReport(name, seed, watch.steps, struck, tuple(faults), simulated)


def _play(
    async_fn: AsyncCallable,
    check: Check | None,
    seed: int,
    simulated: bool,
    patience: float,
    strike: int,
) -> tuple[Watch, list[Finding]]:
    """Run the callable once; return what was wrong."""
    watch, wrong = Watch(strike), list[str]()
    main = partial(_main, async_fn, check, patience, watch, wrong)
    with Leftovers.looked_for() as leftovers:
        try:
            if simulated:
                run(main, seed=seed, instruments=[watch])
            else:
                trio.run(main, instruments=[watch])
        except Exception as error:  # noqa: BLE001 -- reported
            if not wrong:  # else Trio gives up on what has been found already
                wrong.append(f"Trio could not go on: {_said(error)}")
        wrong += leftovers.found()
    return watch, [Finding(strike, watch.place, each) for each in wrong]


async def _main(
    async_fn: AsyncCallable,
    check: Check | None,
    patience: float,
    watch: Watch,
    wrong: list[str],
) -> None:
    ended = trio.Event()

    async def program() -> None:
        try:
            found = await _call(async_fn, watch)
            wrong.extend(_left_open() or found)
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        as_program(nursery.start_soon, program, name=PROGRAM)
        with trio.move_on_after(patience):
            await ended.wait()
        if not ended.is_set():
            wrong.append(f"it had not ended after {patience} s: {watch.standing()}")
            abandon(watch.tasks)
            await ended.wait()
    wrong.extend(f"the task {name} is left" for name in watch.left())
    wrong.extend(await _checked(check))


async def _call(async_fn: AsyncCallable, watch: Watch) -> list[str]:
    """Call it in its scope; return what came out that should not."""
    try:
        with watch.scope:
            await async_fn()
    except AbandonedError:
        return []
    except Exception as error:  # noqa: BLE001 -- reported
        return [f"{'the cancel became' if watch.strike else 'it raised'} {_said(error)}"]
    if watch.raised_at and not watch.scope.cancelled_caught:
        return [f"it swallowed the trio.Cancelled that was raised {_at(watch.raised_at)}"]
    return []


def _at(place: str) -> str:
    return place if place.startswith("at ") else f"at {place}"


def _left_open() -> list[str]:
    """Return the nurseries that the callable has entered and not left: Trio gives up on them."""
    found: list[str] = []
    for nursery in trio.lowlevel.current_task().child_nurseries:
        names = ", ".join(sorted(task.name for task in nursery.child_tasks))
        found.append(f"a nursery is left open, with the tasks: {names or 'none'}")
    return found


def _said(error: BaseException) -> str:
    """Return an error as one line, without the groups around it and the advice behind it."""
    error = sole(error)
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


async def _checked(check: Check | None) -> list[str]:
    """Call the check; return what it says."""
    if check is None:
        return []
    try:
        result = check()
        if inspect.isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 -- reported
        return [f"the check failed: {_said(error)}"]
    return []
