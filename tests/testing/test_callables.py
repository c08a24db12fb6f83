"""Any callable, cancelled at every step: what it leaves is found, and what is clean is left alone."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from crush_trio.testing import CallableReport, sweep_callable
from crush_trio.testing.leftovers import children


async def tidy() -> None:
    """Do some work in two tasks, and clean up."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 1)
        try:
            await trio.sleep(2)
        finally:
            with trio.move_on_after(0.5, shield=True):
                await trio.sleep(0.1)


def test_a_tidy_callable_is_cancelled_at_each_of_its_steps_and_is_clean() -> None:
    report = sweep_callable(tidy)
    report.check()
    assert report.points > 5
    assert report.strikes == report.points
    assert "clean" in str(report)


def test_a_swallowed_cancel_is_found_and_the_report_says_where_and_how_to_see_it_again() -> None:
    async def deaf() -> None:
        with suppress(BaseException):
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()

    report = sweep_callable(deaf, seed=5)
    faults = [fault for fault in report.faults if "swallowed" in fault.what]
    assert faults
    assert faults[0].place == "at the beginning"
    assert f"{Path(__file__).name}:" in faults[0].what
    assert f"{Path(__file__).name}:" in faults[-1].place
    assert f"seed=5, points=[{report.faults[0].point}]" in str(report)
    again = sweep_callable(deaf, seed=5, points=[faults[0].point])
    assert again.faults == (faults[0],)
    with pytest.raises(AssertionError, match="swallowed"):
        report.check()


def test_a_cancel_that_is_caught_where_it_belongs_is_not_called_swallowed() -> None:
    """A timeout of the callable's own, also in a shield that a cancel runs into."""

    async def patient() -> None:
        with trio.move_on_after(1):
            await trio.sleep(5)
        with trio.move_on_after(1, shield=True):
            await trio.sleep(5)

    sweep_callable(patient).check()


def test_a_cancel_that_becomes_an_error_is_found() -> None:
    async def confused() -> None:
        found = None
        try:
            await trio.sleep(1)
            found = "it"
        finally:
            if found is None:
                raise LookupError("no such thing")

    assert any("LookupError" in fault.what for fault in sweep_callable(confused).faults)


def test_an_error_without_any_cancel_is_one_fault_and_nothing_is_cancelled() -> None:
    async def broken() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("at once")

    report = sweep_callable(broken)
    assert [fault.point for fault in report.faults] == [0]
    assert report.strikes == 0


def test_a_callable_that_does_not_end_when_it_is_cancelled_is_found_and_given_up() -> None:
    async def stubborn() -> None:
        try:
            await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1_000)

    report = sweep_callable(stubborn, patience=2_000)
    report.check()
    hung = sweep_callable(stubborn, patience=500, points=[2])
    assert hung.faults[0].what.startswith("it had not ended after 500 s")


def test_the_check_is_called_after_each_run_and_its_failure_is_a_fault() -> None:
    """A lock that is left taken is nothing that a machine could know: the check tells."""
    taken: list[int] = []

    async def careless() -> None:
        await trio.lowlevel.checkpoint()
        taken.append(1)
        await trio.lowlevel.checkpoint()
        taken.clear()

    async def released() -> None:
        await trio.lowlevel.checkpoint()
        left = len(taken)
        taken.clear()
        assert not left, "the lock is taken"

    report = sweep_callable(careless, check=released)
    assert any("the lock is taken" in fault.what for fault in report.faults)
    assert len(report.faults) < report.strikes


def test_a_file_that_stays_open_after_a_cancel_is_found(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    kept: list[object] = []

    async def leaky() -> None:
        file = path.open()
        kept.append(file)
        await trio.sleep(1)
        file.close()

    report = sweep_callable(leaky)
    assert any(f"({path})" in fault.what for fault in report.faults)
    for each in kept:
        each.close()  # type: ignore[attr-defined]


def test_a_file_that_a_cancel_leaves_to_python_is_found(tmp_path: Path) -> None:
    """Nobody holds it any more, so it is closed at once; but by luck, and Python says so."""
    path = tmp_path / "file"
    path.write_text("text")

    async def leaky() -> None:
        file = path.open()
        await trio.sleep(1)
        file.close()

    faults = sweep_callable(leaky).faults
    assert [fault.point for fault in faults] == [1, 2]  # the sleep never begins, or is cut short
    assert faults[0].what.startswith("left for Python to clean up: unclosed file")
    assert str(path) in faults[0].what


def test_a_nursery_that_a_cancel_leaves_open_is_found_with_its_tasks() -> None:
    """Trio can only give up on it; the sweep says which step it was, and goes on."""

    class Pool:
        async def start(self) -> None:
            self.manager = trio.open_nursery()
            nursery = await self.manager.__aenter__()
            nursery.start_soon(trio.sleep, 1, name="worker")

        async def stop(self) -> None:
            await self.manager.__aexit__(None, None, None)

    async def forgetful() -> None:
        pool = Pool()
        await pool.start()
        await trio.sleep(0.1)
        await pool.stop()

    report = sweep_callable(forgetful)
    assert report.strikes == report.points > 3
    left = [fault for fault in report.faults if fault.what.startswith("a nursery is left open")]
    assert "worker" in left[0].what
    assert "in forgetful" in left[-1].place
    assert "\n" not in left[0].what
    clean = sweep_callable(tidy)
    clean.check()


def test_a_task_without_an_owner_is_found() -> None:
    async def careless() -> None:
        trio.lowlevel.spawn_system_task(trio.sleep, 1, name="orphan")  # noqa: TID251 -- as others do
        await trio.sleep(0.1)

    faults = sweep_callable(careless).faults
    assert [fault.what for fault in faults] == ["the task orphan is left"]


@pytest.mark.parametrize("simulated", [True, False])
def test_the_last_line_of_a_report_plays_its_first_fault_again(simulated: bool) -> None:
    """As it is printed: whoever pastes it has the same fault, in the same kind of time."""

    async def deaf() -> None:
        with suppress(trio.Cancelled):
            await trio.lowlevel.checkpoint()

    report = sweep_callable(deaf, seed=3, simulated=simulated)
    line = str(report).splitlines()[-1].removesuffix(" plays the first again").strip()
    again: CallableReport = eval(line, {"sweep_callable": sweep_callable, "deaf": deaf})
    assert again.faults == report.faults[:1]
    assert again.simulated is simulated


SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


async def test_nothing_of_this_file_is_left_running() -> None:
    assert not [command for command in children().values() if "time.sleep(60)" in command]


def test_a_process_that_a_cancel_leaves_behind_is_found_and_killed() -> None:
    """With real processes: started, and forgotten when the wait for it is cancelled."""

    async def leaky() -> None:
        process = await trio.lowlevel.open_process(SLEEPER)
        await trio.sleep(0.001)
        process.kill()
        await process.wait()

    report = sweep_callable(leaky, simulated=False)
    assert any("time.sleep(60)" in fault.what for fault in report.faults)
    assert not [command for command in children().values() if "time.sleep(60)" in command]


def test_a_command_that_outlives_the_shell_that_began_it_is_found_and_killed() -> None:
    """The shell is ended as it should be; what it had begun would be nobody's child any more.

    Only Linux lets us adopt it; elsewhere nothing is found, as the page says.
    """
    shell = ["sh", "-c", "sleep 61 & echo begun; wait"]

    async def leaky() -> None:
        process = await trio.lowlevel.open_process(shell, stdout=subprocess.PIPE)
        assert process.stdout is not None
        async with process.stdout:
            await process.stdout.receive_some()
            process.kill()
            await process.wait()

    report = sweep_callable(leaky, simulated=False, points=[])
    found = [fault.what for fault in report.faults if "(sleep 61) is left" in fault.what]
    assert len(found) == len(report.faults) == (sys.platform == "linux")
    assert "sleep 61" not in children().values()


def test_a_process_that_is_ended_by_whoever_started_it_is_no_fault() -> None:
    async def clean() -> None:
        await trio.run_process([sys.executable, "-c", "pass"])

    sweep_callable(clean, simulated=False, points=range(1, 12)).check()
