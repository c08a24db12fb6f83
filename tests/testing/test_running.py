"""One simulated run: what the seed decides, what is virtual, and what raises."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading  # noqa: TID251 -- to see it refused
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
import trio._core._run as trio_run

import canary_kit
from crush_trio.ids import new_id
from crush_trio.testing import OutsideWorldError, open_core, open_world, run, virtual_now
from crush_trio.testing.running import EPOCH, require_switch


class Order(trio.abc.Instrument):
    """Notes which task runs."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.names.append(task.name)


async def crowd() -> list[str]:
    """Let many tasks meet, and return the order in which they came through, with an id of each."""
    came: list[str] = []

    async def walk(name: str) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        came.append(f"{name} {new_id()}")

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(walk, str(number), name=f"walker {number}")
    return came


def order(seed: int) -> tuple[list[str], list[str]]:
    """Return what the crowd came to and the steps it took."""
    steps = Order()
    return run(crowd, seed=seed, instruments=[steps]), steps.names


def test_a_seed_decides_the_order_and_the_ids() -> None:
    """The same seed gives the same steps and ids; thirty seeds give many orders."""
    assert order(7) == order(7)
    assert len({tuple(order(seed)[1]) for seed in range(30)}) > 20
    assert len({order(seed)[0][0].split()[1] for seed in range(30)}) > 20


@pytest.mark.parametrize("hashes", ["1", "2"])
def test_trio_has_the_switch_that_this_rests_on(hashes: str) -> None:
    """Canary: without the plugins that turn it on for us, a seed decides the order of every batch.

    In other processes, whose memory and whose strings' hashes are others.
    """
    env = {**os.environ, "PYTHONHASHSEED": hashes}
    program = [sys.executable, canary_kit.__file__]
    done = subprocess.run(program, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ours = canary_kit.orders()
    assert done.stdout.splitlines() == [str(order) for order in ours]
    assert len({tuple(order) for order in ours}) == len(canary_kit.SEEDS)


def test_a_run_leaves_trios_randomness_as_it_was() -> None:
    """What happened before a run has no say in it, and it has none in what comes after."""
    require_switch()
    assert isinstance(trio_run._r, random.Random)
    switch, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()
    first = order(1)
    assert trio_run._r.getstate() == state
    assert switch == trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._r.random()
    assert order(1) == first, "what happened before a run has a say in it"


def test_time_is_virtual() -> None:
    """A day passes at once, on Trio's clock and on the wall's."""

    async def day() -> float:
        begun = virtual_now()
        await trio.sleep(86_400)
        return virtual_now() - begun

    began = time.monotonic()
    assert run(day) == 86_400
    assert run(_now) == EPOCH
    assert time.monotonic() - began < 5


async def _now() -> float:
    return virtual_now()


async def _thread() -> None:
    await trio.to_thread.run_sync(time.time)


async def _process() -> None:
    await trio.run_process(["true"])


async def _socket() -> None:
    await trio.open_tcp_stream("127.0.0.1", 9)


async def _name() -> None:
    await trio.socket.getaddrinfo("localhost", 9)


async def _pair() -> None:
    trio.socket.socketpair()


_OPEN = socket.socket()


async def _open_socket() -> None:
    """One that was opened before the run."""
    trio.socket.from_stdlib_socket(_OPEN)


async def _descriptor() -> None:
    trio.socket.fromfd(_OPEN.fileno(), socket.AF_INET, socket.SOCK_STREAM)


async def _pythons_socket() -> None:
    socket.create_connection(("127.0.0.1", 9))


async def _pythons_pair() -> None:
    socket.socketpair()


async def _pythons_thread() -> None:
    threading.Thread(target=time.time).start()


async def _pool() -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(time.time)


async def _pythons_process() -> None:
    subprocess.run(["true"], check=True)  # noqa: ASYNC221 -- as users may


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Generator[None]:
    yield
    _OPEN.close()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (_thread, "a thread"),
        (_process, "or a process"),
        (_socket, "socket"),
        (_pair, "a socket"),
        (_open_socket, "a socket"),
        (_descriptor, "a socket"),
        (_name, "localhost"),
        (_pythons_socket, "a socket"),
        (_pythons_pair, "a socket"),
        (_pythons_thread, "a thread"),
        (_pool, "a thread"),
        (_pythons_process, "a process"),
    ],
)
def test_the_outside_world_raises(what: Callable[[], Awaitable[None]], said: str) -> None:
    """Threads, processes, sockets and names cannot be simulated: using one says so."""
    with pytest.RaisesGroup(  # a socket is opened in a nursery
        pytest.RaisesExc(OutsideWorldError, match=said), allow_unwrapped=True
    ):
        run(what)


def test_what_raised_in_a_run_works_after_it_and_beside_it() -> None:
    """The bars are the run's: taken away with it, and none of another thread's business."""
    begin, done = threading.Event(), threading.Event()

    def beside() -> None:
        begin.wait(5)
        subprocess.run(["true"], check=True)
        for each in socket.socketpair():
            each.close()
        done.set()

    async def meanwhile() -> None:
        begin.set()
        done.wait(5)

    other = threading.Thread(target=beside)
    other.start()
    run(meanwhile)
    other.join(5)
    assert done.is_set()
    trio.run(_thread)
    subprocess.run(["true"], check=True)
    for each in socket.socketpair():
        each.close()


def test_ids_are_random_outside_of_a_run() -> None:
    """A simulated run leaves nothing behind: the ids after it are nobody's to foresee."""
    run(crowd, seed=3)
    first = new_id()
    run(crowd, seed=3)
    assert new_id() != first
    trio.run(_thread)


async def _in_a_core(seed: int | None) -> list[str]:
    async with open_core(seed=seed):
        return await crowd()


async def _in_a_world(seed: int | None) -> list[str]:
    async with open_world(seed=seed):
        return await crowd()


@pytest.mark.parametrize("inside", [_in_a_core, _in_a_world])
def test_a_world_may_have_a_seed_of_its_own(
    inside: Callable[[int | None], Awaitable[list[str]]],
) -> None:
    """It decides from then on, whatever the run's was; without one the run's goes on."""
    assert run(inside, 5, seed=1) == run(inside, 5, seed=2)
    assert run(inside, 5, seed=1) != run(inside, 6, seed=1)
    assert run(inside, None, seed=1) != run(inside, None, seed=2)


async def test_a_seed_outside_of_a_simulated_run_is_refused() -> None:
    """Nothing would come of it: time and order are the run's."""
    with pytest.raises(RuntimeError, match=r"crush_trio\.testing\.run"):
        async with open_core(seed=1):
            raise AssertionError("it opened")
