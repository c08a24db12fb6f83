"""The same seed gives the same bytes at the same times: in the next run, and in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

import steps_kit
import traced_kit
from crush_trio.testing.place import Place, make_place, open_place
from limits_kit import PROCESS_LIMIT
from traced_kit import SCENARIOS, play_all, trace_of


@pytest.fixture
def place() -> Generator[Place]:
    with open_place() as made:
        yield made


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_two_runs_of_a_seed_have_the_same_trace(name: str, http2: bool, place: Place) -> None:
    """Byte for byte, both ways; another seed has other ids at least."""
    first = str(trace_of(name, place, http2=http2))
    assert first == str(trace_of(name, place, http2=http2))
    assert first != str(trace_of(name, place, http2=http2, seed=2))
    assert "date:" not in first.lower()


def test_two_processes_have_the_same_traces(tmp_path: Path) -> None:
    """Though the strings of the other one have other hashes."""
    root, theirs, ours = (tmp_path / name for name in ("place", "theirs", "ours"))
    for directory in (root, theirs, ours):
        directory.mkdir()
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    program = [sys.executable, traced_kit.__file__, str(root.resolve()), str(theirs)]
    subprocess.run(program, env=env, check=True, timeout=PROCESS_LIMIT)
    play_all(make_place(root.resolve()), ours)
    names = {file.name for file in ours.iterdir()}
    assert len(names) == 2 * len(SCENARIOS)
    for name in names:
        assert (ours / name).read_text() == (theirs / name).read_text(), name


def test_two_processes_take_the_same_steps_through_every_story(tmp_path: Path) -> None:
    """In the world without HTTP, with other hashes of strings, and other addresses."""
    env = {**os.environ, "PYTHONHASHSEED": "2"}
    program = [sys.executable, steps_kit.__file__, str(tmp_path.resolve()), "5"]
    done = subprocess.run(
        program, env=env, check=True, timeout=120, stdout=subprocess.PIPE, text=True
    )
    ours = steps_kit.steps(tmp_path.resolve(), 5)
    assert len(ours.splitlines()) > 3_500
    assert done.stdout.splitlines() == ours.splitlines()
