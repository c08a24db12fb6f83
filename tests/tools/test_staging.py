"""A file's new content: all of it or nothing, and the same file to everybody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crush_trio.tools.staging import stage


def write(path: Path, data: bytes) -> None:
    """Replace a file's content."""
    staged = stage(str(path), data)
    staged.put()
    staged.discard()


def names(directory: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(found.name for found in directory.iterdir())


def test_nothing_is_seen_before_all_of_it(tmp_path: Path) -> None:
    """A reader that has the old file open keeps it; then there is one file, the new one."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        staged = stage(str(path), b"new content")
        assert path.read_text() == "old"
        staged.put()
        assert path.read_text() == "new content"
        assert reader.read() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    """But the directories that were made for it."""
    path = tmp_path / "a" / "b.txt"
    staged = stage(str(path), b"x")
    staged.discard()
    staged.discard()
    assert names(tmp_path / "a") == []


def test_mode_and_attributes_are_those_of_the_old_file(tmp_path: Path) -> None:
    """A script stays executable. Its time is that of the writing."""
    path = tmp_path / "run.sh"
    path.write_text("old")
    path.chmod(0o751)
    os.utime(path, (1, 1))
    write(path, b"new")
    assert path.stat().st_mode & 0o7777 == 0o751
    assert path.stat().st_mtime > 1


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is changed, also if that is not there yet."""
    target, link = tmp_path / "real" / "a.txt", tmp_path / "link"
    link.symlink_to("real/a.txt")
    write(link, b"1")
    write(link, b"2")
    assert link.is_symlink()
    assert target.read_bytes() == b"2"
    assert names(tmp_path / "real") == ["a.txt"]


def test_a_file_with_two_names_keeps_both(tmp_path: Path) -> None:
    """It is written in place: a new file would have one of the names only."""
    path = tmp_path / "a"
    path.write_text("a longer old text")
    os.link(path, tmp_path / "b")
    write(path, b"new")
    assert (tmp_path / "b").read_bytes() == b"new"
    assert names(tmp_path) == ["a", "b"]


def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path: Path) -> None:
    """As one that is mounted by itself; here the new content is gone when it should be moved."""
    path = tmp_path / "a"
    path.write_text("a longer old text")
    staged = stage(str(path), b"new")
    assert staged.temporary is not None
    Path(staged.temporary).unlink()
    staged.put()
    assert path.read_bytes() == b"new"


def test_what_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    """A missing target is not made in another way than by moving; a file is no directory."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        stage(str(tmp_path / "file" / "below"), b"x")
    staged = stage(str(tmp_path / "new"), b"x")
    assert staged.temporary is not None
    Path(staged.temporary).unlink()
    with pytest.raises(FileNotFoundError):
        staged.put()
    assert names(tmp_path) == ["file"]
