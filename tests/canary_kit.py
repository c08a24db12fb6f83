"""The order in which many tasks come through many steps, for a few seeds; prints it as a program.

In a process of its own, because pytest-trio and Hypothesis turn Trio's switch on for themselves,
under whatever name they know it by.
"""

from __future__ import annotations

import trio
import trio._core._run as trio_run

from crush_trio.testing import run

SEEDS = range(5)

WALKERS = 12


async def walk_together() -> list[int]:
    """Return the numbers of the walkers in the order in which they came through."""
    came: list[int] = []

    async def walk(number: int) -> None:
        await trio.lowlevel.checkpoint()
        came.append(number)
        try:
            await trio.sleep_forever()
        finally:  # woken out of a set, whose order is that of the tasks' addresses
            came.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(WALKERS):
            nursery.start_soon(walk, number)
        await trio.sleep(1)
        nursery.cancel_scope.cancel("everybody is there")
    return came


def orders() -> list[list[int]]:
    """Return the order for each seed, each played twice with other things in memory."""
    kept: list[object] = []
    found: list[list[int]] = []
    for seed in SEEDS:
        first = run(walk_together, seed=seed)
        kept += [object() for _ in range(10_007 * (seed + 1))]
        again = run(walk_together, seed=seed)
        assert first == again, f"seed {seed} does not decide the order on trio {trio.__version__}"
        found.append(first)
    return found


if __name__ == "__main__":
    assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING is False, "somebody has turned it on"
    for order in orders():
        print(order)  # noqa: T201
    assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING is False, "a run has left it on"
