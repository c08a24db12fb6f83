"""Opening and closing a store's files."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from crush_trio.errors import DataDirectoryError, StoreError
from crush_trio.store import open_store
from crush_trio.store.lock import lock_directory
from crush_trio.store.opening import _unusable
from limits_kit import REAL_LIMIT
from store_kit import foreign


def nobody(_event: object) -> None:
    """Nobody reads events here."""


async def test_a_new_data_directory_is_private_and_ignored(tmp_path: Path) -> None:
    """7.11: mode 0700 and a .gitignore with everything in it; one that is there stays."""
    directory = tmp_path / "deep" / ".crush"
    with trio.fail_after(REAL_LIMIT):
        async with open_store(directory, nobody):
            assert directory.stat().st_mode & 0o777 == 0o700
            assert (directory / ".gitignore").read_text() == "*\n"
        (directory / ".gitignore").write_text("mine")
        async with open_store(directory, nobody):
            assert (directory / ".gitignore").read_text() == "mine"


@pytest.mark.promise("W5")
async def test_a_closed_store_holds_no_connection(tmp_path: Path) -> None:
    """SQLite removes its side files when the last connection closes; the lock is free again."""
    side_files = [tmp_path / "crush.db-wal", tmp_path / "crush.db-shm"]
    with trio.fail_after(REAL_LIMIT):
        async with open_store(tmp_path, nobody) as store:
            await store.create_session("a").wait()
            await store.sessions()
            assert all(path.exists() for path in side_files)
        assert not any(path.exists() for path in side_files)
        with lock_directory(tmp_path, "1", 0):
            assert foreign(tmp_path, "SELECT title FROM sessions") == [("a",)]


@pytest.mark.promise("C4")
async def test_what_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    """And the lock is given back, so that a repaired file opens."""
    with trio.fail_after(REAL_LIMIT):
        (tmp_path / "crush.db").write_text("not a database" * 100)
        with pytest.raises(StoreError, match=r"cannot open .*crush\.db: file is not a database"):
            async with open_store(tmp_path, nobody):
                raise AssertionError("opened")
        (tmp_path / "crush.db").unlink()
        async with open_store(tmp_path, nobody):
            pass


async def test_a_directory_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    """A file in the way is named."""
    (tmp_path / "file").touch()
    with trio.fail_after(REAL_LIMIT):
        with pytest.raises(DataDirectoryError, match=r"cannot make .*file/data.* not a directory"):
            async with open_store(tmp_path / "file" / "data", nobody):
                raise AssertionError("opened")


async def test_a_directory_that_the_disk_has_no_room_for_is_not_its_owners_doing() -> None:
    """Who named it could not know: it is an error of the server, and not a bad request."""
    for number in (errno.ENOSPC, errno.EIO, errno.EMFILE):
        assert _unusable(Path("/x"), OSError(number, "m")).status == 500
    for number in (errno.EACCES, errno.EROFS, errno.ENOENT):
        assert _unusable(Path("/x"), OSError(number, "m")).status == 400


async def test_opening_waits_for_another_program_and_can_be_cancelled(tmp_path: Path) -> None:
    """A database that is locked for long does not hold up whoever gives up waiting."""
    with trio.fail_after(REAL_LIMIT):
        async with open_store(tmp_path, nobody):
            pass
        with closing(sqlite3.connect(tmp_path / "crush.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            with trio.move_on_after(0.05) as scope:
                async with open_store(tmp_path, nobody):
                    raise AssertionError("opened")
            assert scope.cancelled_caught
            other.rollback()
        async with open_store(tmp_path, nobody) as store:
            await store.create_session("a").wait()


async def test_an_error_in_the_block_is_not_lost(tmp_path: Path) -> None:
    """What the body raises comes out, as a group, after the store has closed."""
    with trio.fail_after(REAL_LIMIT):
        with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="mine")):
            async with open_store(tmp_path, nobody) as store:
                store.create_session("posted")
                raise KeyError("mine")
    assert foreign(tmp_path, "SELECT title FROM sessions") == [("posted",)]
