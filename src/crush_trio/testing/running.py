"""One simulated run: virtual time, seeded scheduling, seeded ids, no way out.

Synopsis::

    outcome = run(scenario, seed=7)

The same seed gives the same order of steps. That rests on a private switch of Trio's, which its own
test suite and Hypothesis use as well; :func:`require_switch` fails clearly where it is gone.
"""

from __future__ import annotations

import gc
import os
import random
import uuid
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

import trio
import trio._core._run as trio_run
import trio.abc
from trio.testing import MockClock

from crush_trio.ids import ids_from
from crush_trio.testing.doors import barred_outside, barred_threads

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH = 1_700_000_000
"""Unix seconds at which virtual time begins."""


SEED = "CRUSH_TRIO_SEED"
"""The variable of the environment that names the seed of what is given none."""


def default_seed() -> int:
    """Return the seed of what is given none: ``--crush-seed``, which sets :data:`SEED`, or 0."""
    return int(os.environ.get(SEED) or 0)


def virtual_now() -> float:
    """Return unix seconds on Trio's clock, so that they jump with it."""
    return EPOCH + trio.current_time()


def require_switch() -> None:
    """Check that this version of Trio can be made deterministic.

    Raises:
        RuntimeError: it cannot; nothing simulated would be reproducible.
    """
    switch = getattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", None)
    source = getattr(trio_run, "_r", None)
    if switch is None or not hasattr(source, "seed"):
        raise RuntimeError(
            f"trio {trio.__version__} has no deterministic scheduling that crush_trio.testing knows"
            " (trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING and _r)"
        )


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Seed Trio's scheduler for one run; afterwards it is as it was."""
    require_switch()
    core: Any = trio_run
    switch, state = core._ALLOW_DETERMINISTIC_SCHEDULING, core._r.getstate()  # noqa: SLF001
    core._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    core._r.seed(seed)  # noqa: SLF001
    try:
        yield
    finally:
        core._ALLOW_DETERMINISTIC_SCHEDULING = switch  # noqa: SLF001
        core._r.setstate(state)  # noqa: SLF001


@contextmanager
def _without_collector() -> Generator[None]:
    """Keep Python's collector out: it would close forgotten generators at any moment."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def seeded_ids(seed: int) -> Callable[[], uuid.UUID]:
    """Return a source of ids that a seed determines."""
    source = random.Random(f"ids {seed}")  # noqa: S311  # it must be foreseeable
    return lambda: uuid.UUID(int=source.getrandbits(128), version=4)


def run(
    async_fn: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    seed: int | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> T:
    """Call ``async_fn`` in a simulated run of Trio and return what it returns.

    Time is virtual and begins at :data:`EPOCH`; it jumps when everybody waits. Threads, processes
    and sockets raise :class:`~crush_trio.testing.doors.OutsideWorldError`.

    Args:
        async_fn: The main function.
        args: Its arguments.
        seed: Decides the order of scheduling, and every id; by default ``--crush-seed``.
        instruments: Trio's, for the whole run.

    Raises:
        RuntimeError: this version of Trio cannot be made deterministic.
    """
    seed = default_seed() if seed is None else seed
    with _seeded(seed), _without_collector(), ids_from(seeded_ids(seed)), barred_threads():
        return trio.run(
            partial(_main, async_fn, args),
            clock=MockClock(autojump_threshold=0),
            instruments=instruments,
        )


@contextmanager
def sown(seed: int | None) -> Generator[None]:
    """Let another seed decide what a simulated run does from here on; None changes nothing.

    Afterwards ids come from where they came before; the scheduler goes on as this seed has it.

    Raises:
        RuntimeError: this is no simulated run.
    """
    core: Any = trio_run
    if seed is None:
        yield
        return
    is_simulated = isinstance(trio.lowlevel.current_clock(), MockClock)
    if not is_simulated:
        raise RuntimeError("a seed needs a simulated run: call it through crush_trio.testing.run")
    core._r.seed(seed)  # noqa: SLF001
    with ids_from(seeded_ids(seed)):
        yield


async def _main(async_fn: Callable[..., Awaitable[T]], args: Sequence[Any]) -> T:
    with barred_outside():
        return await async_fn(*args)
