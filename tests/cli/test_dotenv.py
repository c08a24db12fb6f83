"""What a server takes from the ``.env`` of the directory that it is started in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from crush_trio.cli.dotenv import with_dotenv


def test_a_file_adds_what_is_not_set(tmp_path: Path) -> None:
    """Agent contract 3.1: nothing that is set already is changed, empty or not."""
    (tmp_path / ".env").write_text(
        "KEY=secret\nexport QUOTED='a b' # a remark\nSET=no\nEMPTY=no\nBARE\n"
    )
    found = with_dotenv(tmp_path, {"SET": "yes", "EMPTY": ""})
    assert found == {"KEY": "secret", "QUOTED": "a b", "SET": "yes", "EMPTY": ""}


def test_without_a_file_nothing_is_added(tmp_path: Path) -> None:
    assert with_dotenv(tmp_path, {"A": "b"}) == {"A": "b"}
    (tmp_path / ".env").mkdir()
    assert with_dotenv(tmp_path, {"A": "b"}) == {"A": "b"}


def test_a_file_that_is_no_text_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_bytes(b"KEY=\xff\xfe\n")
    with caplog.at_level(logging.WARNING):
        assert with_dotenv(tmp_path, {"A": "b"}) == {"A": "b"}
    assert str(tmp_path / ".env") in caplog.text
