"""The pytest plugin: worlds as fixtures, and a seed on the command line.

A test that asks for one of the fixtures below and is an ``async def`` runs in a simulated run:
virtual time, seeded scheduling, no thread, process or socket. All other tests stay as they are,
whoever runs them; nothing of the package is imported before a test asks for it. Synopsis::

    async def test_a_prompt_is_answered(crush_model, crush_client, crush_world):
        crush_model.then("hi")
        async with crush_client.open_workspace(str(crush_world.directory)) as workspace:
            session = await workspace.create_session("main")
            assert (await session.prompt("hello")).text == "hi"
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import pytest

if TYPE_CHECKING:
    from crush_trio.providers.scripted import ScriptedModel

SweepMode = Literal["full", "sample"]

_SIMULATED = frozenset({"crush_world", "crush_core", "crush_client"})
"""Fixtures that live in a simulated run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("crush_trio", "crush_trio: simulated runs")
    group.addoption(
        "--crush-seed",
        type=int,
        default=None,
        metavar="N",
        help="the seed of simulated runs that are given none: order of scheduling, ids, faults;"
        " the first one that explore plays (default: 0)",
    )
    group.addoption(
        "--crush-sweep",
        choices=("full", "sample"),
        default="sample",
        help="whether sweeps strike at every step or at a sample of them (default: sample)",
    )


SEED = "CRUSH_TRIO_SEED"
"""What tells it to what a test calls, so that nothing of the package needs to be imported here."""


def pytest_configure(config: pytest.Config) -> None:
    """Let the seed be that of all simulated runs."""
    if (seed := config.getoption("--crush-seed")) is not None:
        before = os.environ.get(SEED)
        os.environ[SEED] = str(seed)
        config.add_cleanup(lambda: _put_back(before))


def _put_back(seed: str | None) -> None:
    if seed is None:
        os.environ.pop(SEED, None)
    else:
        os.environ[SEED] = seed


@pytest.fixture
def crush_seed() -> int:
    """Return the seed of this session's simulated runs: ``--crush-seed``."""
    return _seed()


@pytest.fixture
def crush_sweep(request: pytest.FixtureRequest) -> SweepMode:
    """Return how much this session's sweeps strike: ``--crush-sweep``."""
    return cast("SweepMode", request.config.getoption("--crush-sweep"))


@pytest.fixture
def crush_model() -> ScriptedModel:
    """Return the scripted model of the test's world; ``then`` adds answers to its script."""
    from crush_trio.providers.scripted import ScriptedModel

    return ScriptedModel()


@pytest.fixture
def crush_core(crush_model: ScriptedModel) -> Opening:
    """Give the test an open :class:`~crush_trio.testing.Core`, the world without HTTP."""
    return Opening(lambda: _testing().open_core(crush_model))


@pytest.fixture
def crush_world(crush_model: ScriptedModel) -> Opening:
    """Give the test an open :class:`~crush_trio.testing.World`, the one with HTTP."""
    return Opening(lambda: _testing().open_world(crush_model))


@pytest.fixture
def crush_client(crush_world: Opening) -> Opening:
    """Give the test a :class:`~crush_trio.client.Client` of its world's server."""

    def open_it(world: Any) -> AbstractAsyncContextManager[Any]:
        return world.client()

    return Opening(open_it, crush_world)


def _seed() -> int:
    return int(os.environ.get(SEED) or 0)


def _testing() -> Any:
    """Return the testing kit, imported when it is needed."""
    import crush_trio.testing

    return crush_trio.testing


class Opening:
    """A fixture that is opened inside the simulated run; the test is given what that yields.

    Args:
        open_it: Opens it; given what the others are open as.
        needs: What must be open before.
    """

    def __init__(
        self, open_it: Callable[..., AbstractAsyncContextManager[Any]], *needs: Opening
    ) -> None:
        self._open_it, self._needs = open_it, needs

    def __getattr__(self, name: str) -> NoReturn:
        """Say where the fixture can be used: what reads this got it before the run."""
        raise AttributeError(
            f"no {name!r} yet: crush_core, crush_world and crush_client are open in an async test"
            " that asks for them, and not in other fixtures"
        )

    async def enter(self, stack: AsyncExitStack, opened: dict[Opening, Any]) -> Any:
        """Open it, and what it needs, unless that has happened; return what the test is given."""
        if self not in opened:
            needed = [await each.enter(stack, opened) for each in self._needs]
            opened[self] = await stack.enter_async_context(self._open_it(*needed))
        return opened[self]


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, object, object]:
    """Let tests that ask for a world run in simulated runs; pytest sees plain functions.

    As the innermost wrapper: before any other plugin looks for coroutines, so that nobody else
    runs them as well.
    """
    made = yield
    items = cast("list[object]", made) if isinstance(made, list) else [made]
    for item in items:
        if isinstance(item, pytest.Function):
            _simulate(item)
    return cast("object", made)


def _simulate(item: pytest.Function) -> None:
    names = sorted(
        name for name in _SIMULATED.intersection(item.fixturenames) if _is_ours(item, name)
    )
    if not names:
        return
    if not inspect.iscoroutinefunction(item.obj):
        raise pytest.UsageError(
            f"{item.nodeid} uses {', '.join(names)} and must be an async function"
        )
    item.obj = _simulated(item.obj, _seed())


def _is_ours(item: pytest.Function, name: str) -> bool:
    """Whether a fixture is not one of the same name that somebody else has written."""
    known: Any = item  # pytest has no public way
    found = known._fixtureinfo.name2fixturedefs.get(name, ())  # noqa: SLF001
    return bool(found) and found[-1].func.__module__ == __name__


def _simulated(test: Callable[..., Awaitable[None]], seed: int) -> Callable[..., None]:
    """Return a plain function that opens a test's worlds in a simulated run, and calls it."""

    @functools.wraps(test)
    def call(**arguments: Any) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                opened: dict[Opening, Any] = {}
                for name, value in arguments.items():
                    if isinstance(value, Opening):
                        arguments[name] = await value.enter(stack, opened)
                await test(**arguments)

        try:
            _testing().run(main, seed=seed)
        except BaseExceptionGroup as group:
            from crush_trio.errors import sole

            raise sole(group) from None  # the test's own error, without the nurseries around it

    return call
