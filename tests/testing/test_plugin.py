"""The pytest plugin, as a user's project has it: a pytest of its own, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from user_kit import Said, user_pytest


async def test_a_test_that_asks_for_a_core_runs_in_virtual_time(tmp_path: Path) -> None:
    said = await user_pytest(
        tmp_path,
        """
import trio

async def test_an_hour(crush_core, crush_model):
    crush_model.then("hi")
    client = crush_core.client("me")
    await crush_core.done(client.join())
    await crush_core.done(client.create_session("main"))
    reply = await crush_core.done(client.prompt("hello"))
    assert reply.status == 200 and reply.body.text == "hi"
    await trio.sleep(3600)
""",
    )
    assert "1 passed" in said.text, said.text


async def test_a_test_that_asks_for_a_client_speaks_http_to_a_world(tmp_path: Path) -> None:
    said = await user_pytest(
        tmp_path,
        """
async def test_over_http(crush_client, crush_model, crush_world):
    crush_model.then("hi")
    async with crush_client.open_workspace(str(crush_world.directory)) as workspace:
        session = await workspace.create_session("main")
        assert (await session.prompt("hello")).text == "hi"

async def test_the_client_alone_has_a_world_too(crush_client):
    await crush_client.health()
""",
    )
    assert "2 passed" in said.text, said.text


SEEDED = """
import trio

async def test_the_order(crush_core, crush_seed):
    came = []

    async def walk(name):
        await trio.lowlevel.checkpoint()
        came.append(name)

    async with trio.open_nursery() as nursery:
        for name in range(8):
            nursery.start_soon(walk, name)
    print("came", crush_seed, came)
"""


async def test_the_seed_comes_from_the_command_line_and_decides_the_order(tmp_path: Path) -> None:
    def line(said: Said) -> str:
        return next(line for line in said.text.splitlines() if line.startswith("came"))

    first = line(await user_pytest(tmp_path, SEEDED, "-s", "--crush-seed=7"))
    assert first == line(await user_pytest(tmp_path, SEEDED, "-s", "--crush-seed=7"))
    other = line(await user_pytest(tmp_path, SEEDED, "-s", "--crush-seed=8"))
    assert first.split()[1] == "7"
    assert first.split()[2:] != other.split()[2:]


async def test_a_test_that_asks_for_nothing_of_ours_stays_as_it_was(tmp_path: Path) -> None:
    """Real time, and nothing of the package imported but the plugin."""
    said = await user_pytest(
        tmp_path,
        """
import sys
import time

def test_plain():
    begun = time.monotonic()
    time.sleep(0.01)
    assert time.monotonic() > begun
    ours = {name for name in sys.modules if name.startswith("crush_trio")}
    assert ours == {"crush_trio", "crush_trio.pytest_plugin"}, ours
    assert "trio" not in sys.modules
""",
    )
    assert "1 passed" in said.text, said.text


async def test_it_gets_along_with_the_plugin_of_trio(tmp_path: Path) -> None:
    """Each test is run once: ours by ours, the other by pytest-trio, whose time is the real one."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    said = await user_pytest(
        tmp_path,
        """
import time
import trio

async def test_theirs():
    begun = time.monotonic()
    await trio.sleep(0.01)
    assert time.monotonic() - begun >= 0.01

async def test_ours(crush_core):
    begun = time.monotonic()
    await trio.sleep(3600)
    assert time.monotonic() - begun < 60
""",
        plugins=("pytest_trio.plugin",),
    )
    assert "2 passed" in said.text, said.text


GREEDY = """
import asyncio, functools, inspect
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_pycollect_makeitem():
    made = (yield).get_result()
    for item in made if isinstance(made, list) else []:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = in_a_loop(item.obj)

def in_a_loop(test):
    @functools.wraps(test)
    def call(**arguments):
        asyncio.run(test(**arguments))
    return call
"""


async def test_it_gets_along_with_a_plugin_that_takes_every_coroutine_for_itself(
    tmp_path: Path,
) -> None:
    """As that of asyncio does in its automatic mode, which decides when a test is collected."""
    (tmp_path / "greedy.py").write_text(GREEDY)
    said = await user_pytest(
        tmp_path,
        """
import asyncio
import pytest
import trio

async def test_theirs():
    await asyncio.sleep(0)

async def test_ours(crush_core):
    await trio.sleep(3600)

class TestTogether:
    async def test_theirs(self):
        await asyncio.sleep(0)

    @pytest.mark.parametrize("number", [1, 2])
    async def test_ours(self, crush_world, number):
        await trio.sleep(3600)
""",
        plugins=("greedy",),
    )
    assert "5 passed" in said.text, said.text


async def test_a_fixture_of_the_same_name_that_somebody_else_has_stays_as_it_is(
    tmp_path: Path,
) -> None:
    said = await user_pytest(
        tmp_path,
        """
import pytest

@pytest.fixture
def crush_client():
    return "theirs"

def test_theirs(crush_client):
    assert crush_client == "theirs"

async def test_ours(crush_core, crush_client):
    assert crush_client == "theirs" and crush_core.client("me")
""",
    )
    assert "2 passed" in said.text, said.text


async def test_a_fixture_that_uses_a_world_is_told_that_it_is_not_open_yet(tmp_path: Path) -> None:
    said = await user_pytest(
        tmp_path,
        """
import pytest

@pytest.fixture
def me(crush_core):
    return crush_core.client("me")

async def test_mine(me): pass
""",
    )
    assert "open in an async test that asks for them, and not in other fixtures" in said.text


async def test_a_world_in_a_test_that_is_not_async_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    said = await user_pytest(tmp_path, "def test_sync(crush_core): pass")
    assert said.status != 0
    assert "test_mine.py::test_sync uses crush_core and must be an async function" in said.text


async def test_sweeps_are_told_how_much_to_strike(tmp_path: Path) -> None:
    test = "def test_mode(crush_sweep): print('mode', crush_sweep)"
    assert "mode sample" in (await user_pytest(tmp_path, test, "-s")).text
    assert "mode full" in (await user_pytest(tmp_path, test, "-s", "--crush-sweep=full")).text
    wrong = await user_pytest(tmp_path, test, "--crush-sweep=some")
    assert wrong.status == pytest.ExitCode.USAGE_ERROR


async def test_a_leak_in_a_users_tool_is_found_in_twenty_lines(tmp_path: Path) -> None:
    """As the tutorial has it: the tool starts a process, and a cancel leaves it running."""
    said = await user_pytest(
        tmp_path,
        """
import subprocess, sys
import trio
from crush_trio.testing import sweep_callable

async def count_words(path):
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", "import time; time.sleep(0.05); print(42)"], stdout=subprocess.PIPE)
    text = await process.stdout.receive_some()
    await process.wait()
    await process.stdout.aclose()
    return int(text)

async def scenario():
    assert await count_words("file.txt") == 42

def test_count_words_leaves_nothing_wherever_it_is_cancelled():
    sweep_callable(scenario, simulated=False).check()
""",
    )
    assert said.status == 1, said.text
    assert "time.sleep(0.05)" in said.text
    assert "is left" in said.text
    assert "in count_words" in said.text
