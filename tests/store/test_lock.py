"""One server at a time on a data directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from crush_trio.errors import DataDirectoryInUseError, StoreError
from crush_trio.store import open_store
from crush_trio.store.lock import SKIP_VARIABLE, lock_directory
from limits_kit import PROCESS_LIMIT

CHILD = Path(__file__).parent / "child_process.py"


def child(directory: Path, role: str) -> list[str]:
    """Return the command of a process that opens a store."""
    return [sys.executable, str(CHILD), str(directory), role]


@pytest.mark.promise("C1")
async def test_a_directory_held_by_another_process_is_refused_until_that_dies(
    tmp_path: Path,
) -> None:
    """R-07: the error names the directory and its holder; the lock dies with a killed holder."""
    with trio.fail_after(PROCESS_LIMIT):
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, stdout=subprocess.PIPE, check=False)
            holder: trio.Process = await nursery.start(run, child(tmp_path, "hold"))
            assert holder.stdout is not None
            async with holder.stdout as said:
                assert await said.receive_some() == b"open\n"
                with pytest.raises(DataDirectoryInUseError) as refused:
                    async with open_store(tmp_path, lambda _: None):
                        raise AssertionError("two processes have it open")
                holder.kill()
        text = str(refused.value)
        assert text.startswith(
            f"data directory already in use by another crush process: {tmp_path}"
            f" (owner pid={holder.pid} version=9.9.9 started_at=20"
        )
        assert refused.value.status == 409
        async with open_store(tmp_path, lambda _: None) as store:
            await store.create_session("now ours").wait()


async def test_the_same_process_cannot_open_a_directory_twice(tmp_path: Path) -> None:
    """A second opener in one process is refused as well: whoever shares a store shares its object."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_store(tmp_path, lambda _: None):
            with pytest.raises(DataDirectoryInUseError, match=f"owner pid={os.getpid()} "):
                async with open_store(tmp_path, lambda _: None):
                    raise AssertionError("opened twice")


async def test_closing_a_store_gives_the_lock_back_and_keeps_its_file(tmp_path: Path) -> None:
    """The file is never removed, or two could lock two files of that name."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_store(tmp_path, lambda _: None, clock=lambda: 0.0, version="1.2.3"):
            inode = (tmp_path / "crush.lock").stat().st_ino
            owner = json.loads((tmp_path / "crush.lock").read_text())
        assert owner == {
            "pid": os.getpid(),
            "version": "1.2.3",
            "started_at": "1970-01-01T00:00:00Z",
        }
        async with open_store(tmp_path, lambda _: None):
            assert (tmp_path / "crush.lock").stat().st_ino == inode


async def test_the_lock_can_be_skipped(tmp_path: Path) -> None:
    """7.11: CRUSH_SKIP_DATADIR_LOCK opens a directory that somebody holds; 0 does not."""
    with trio.fail_after(PROCESS_LIMIT):
        with lock_directory(tmp_path, "1", 0):
            outcomes: list[bytes] = []
            for value in ("1", "0"):
                done = await trio.run_process(
                    child(tmp_path, "leave"),
                    env={**os.environ, SKIP_VARIABLE: value},
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
                outcomes.append(done.stdout)
    assert outcomes == [b"open\n", b""]


def test_a_lock_file_with_unknown_content_still_locks(tmp_path: Path) -> None:
    """What the file says is for people; an unreadable one changes nothing else."""
    with lock_directory(tmp_path, "1", 0):
        for content in ("", "not json", "[1]", '"text"', "7"):
            (tmp_path / "crush.lock").write_text(content)
            with pytest.raises(DataDirectoryInUseError, match=r"owner pid=\? version=\?"):
                with lock_directory(tmp_path, "2", 0):
                    raise AssertionError("locked twice")


def test_a_lock_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """The error names the file and the reason."""
    (tmp_path / "crush.lock").mkdir()
    with pytest.raises(
        StoreError, match=r"cannot open the lock file .*crush\.lock: Is a directory"
    ):
        with lock_directory(tmp_path, "1", 0):
            raise AssertionError("locked a directory entry")
