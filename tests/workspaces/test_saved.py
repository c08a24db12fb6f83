"""What a restart must know: the values, and the file that holds them."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.addresses import parse_address
from crush_trio.ids import ClientID, WorkspaceID
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces.saved import (
    SavedClaim,
    SavedWorkspace,
    StateFile,
    still_kept,
    without,
)

ADDRESS = "unix:///run/crush.sock"
A, B = ClientID("a"), ClientID("b")
SECRET = "sk-very-secret"

SAVED = SavedWorkspace(
    WorkspaceID("w"),
    "/project",
    CreateWorkspace(
        "/link",
        client_id="a",
        yolo=True,
        debug=True,
        data_dir="/data",
        version="1",
        env=(f"KEY={SECRET}", "Ä=ö"),
        channels=("server:x",),
    ),
    (SavedClaim(A, "1"), SavedClaim(B)),
)
OTHER = SavedWorkspace(WorkspaceID("v"), "/other", CreateWorkspace("/other"))


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    """A file in directories that do not exist yet."""
    return StateFile(tmp_path / "data" / "crush-trio" / "s.json", ADDRESS)


def test_each_address_has_its_own_file_in_the_global_data_directory(tmp_path: Path) -> None:
    """Crush's own, wherever its variables put it."""
    unix = StateFile.at(parse_address(ADDRESS), {"HOME": str(tmp_path)})
    tcp = StateFile.at(parse_address("tcp://127.0.0.1:80"), {"CRUSH_GLOBAL_DATA": "/d"})
    assert unix.path == tmp_path / ".local/share/crush/crush-trio/unix____run_crush.sock.json"
    assert unix.address == ADDRESS
    assert tcp.path == Path("/d/crush-trio/tcp___127.0.0.1_80.json")


@pytest.mark.promise("W3")
def test_what_is_written_is_read_again(file: StateFile) -> None:
    """All of it, in its order; a later write replaces it."""
    file.write([SAVED, OTHER])
    assert file.read() == (SAVED, OTHER)
    file.write([OTHER])
    assert file.read() == (OTHER,)


@pytest.mark.promise("A2")
def test_only_the_owner_can_read_the_file(file: StateFile) -> None:
    """Also while it is being replaced, whatever the umask, since it holds environments."""
    before = os.umask(0)
    try:
        file.write([SAVED])
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.path.parent.iterdir()] == ["s.json"]


def test_a_file_with_nothing_in_it_goes(file: StateFile) -> None:
    """When the last workspace has closed nothing is left, and nothing twice is no error."""
    file.write([SAVED])
    file.write([])
    file.write([])
    assert list(file.path.parent.iterdir()) == []
    assert file.read() == ()


@pytest.mark.promise("C1", "A2")
def test_a_server_killed_while_it_wrote_leaves_the_old_file(file: StateFile) -> None:
    """And what it had begun is replaced by the next write."""
    file.write([SAVED])
    begun = file.path.with_name(".s.json.new")
    begun.write_bytes(file.path.read_bytes()[:50])
    assert file.read() == (SAVED,)
    file.write([OTHER])
    assert file.read() == (OTHER,)
    assert not begun.exists()


def test_a_write_that_fails_leaves_the_old_file(file: StateFile) -> None:
    """Here because something is in the way."""
    file.write([SAVED])
    file.path.with_name(".s.json.new").mkdir()
    with pytest.raises(OSError, match=r"s\.json\.new"):
        file.write([OTHER])
    assert file.read() == (SAVED,)


def document(**changed: Any) -> str:
    """Return a good document with something changed."""
    good: dict[str, Any] = {"format": 1, "address": ADDRESS, "workspaces": []}
    return json.dumps(good | changed)


@pytest.mark.promise("C3", "A2")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "\0\0\0",
        "[" * 100_000,
        '{"x":' + "[" * 100_000,
        document(format=2),
        document(address="unix:///another"),
        document(workspaces=[{"id": 1, "directory": "/x", "request": {}}]),
        document(workspaces=[{"id": "w", "request": {"env": [SECRET]}}]),
        document(workspaces=[{"id": "w", "directory": "/x", "request": {"yolo": SECRET}}]),
    ],
)
def test_a_file_that_is_not_ours_is_ignored(
    text: str, file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which and why, without what is in it; the next write replaces it."""
    file.path.parent.mkdir(parents=True)
    file.path.write_text(text)
    assert file.read() == ()
    (record,) = caplog.records
    assert (record.levelno, str(file.path) in record.message) == (logging.WARNING, True)
    assert SECRET not in caplog.text
    file.write([SAVED])
    assert file.read() == (SAVED,)


@given(st.binary(max_size=200))
def test_no_bytes_are_fatal(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever a disk or a hand has made of the file."""
    file = StateFile(tmp_path_factory.getbasetemp() / "any.json", ADDRESS)
    file.path.write_bytes(data)
    assert file.read() == ()


@pytest.mark.promise("A1")
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_ignored(mode: int, file: StateFile) -> None:
    """It says which workspaces need no permission."""
    file.write([SAVED])
    file.path.chmod(mode)
    assert file.read() == ()


def test_a_pipe_in_the_place_of_the_file_holds_up_no_server(
    file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody writes into it, so that opening it would wait for ever."""
    file.path.parent.mkdir(parents=True)
    os.mkfifo(file.path)
    assert file.read() == ()
    assert "it is not a file" in caplog.text


def test_what_cannot_be_opened_is_ignored(
    file: StateFile, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing file is nothing to talk about; a directory in its place is."""
    assert file.read() == ()
    assert not caplog.records
    file.path.mkdir(parents=True)
    assert file.read() == ()
    assert len(caplog.records) == 1


@pytest.mark.promise("A2")
def test_a_saved_workspace_does_not_show_its_environment() -> None:
    """Not even to a log that shows objects."""
    assert repr(SAVED) == "<SavedWorkspace w /project claims 2>"


@pytest.mark.promise("W2")
def test_a_goodbye_takes_away_one_claim_and_the_last_one_the_workspace() -> None:
    """Who has no claim takes away nothing, also where nobody has one (wire contract 7.5)."""
    left = without(SAVED, A)
    assert left is not None
    assert left.claims == (SavedClaim(B),)
    assert without(left, B) is None
    assert without(left, A) is left
    assert without(OTHER, A) is OTHER


def test_what_nobody_comes_back_for_is_kept_for_a_while() -> None:
    """From the first start at which it was not open, over any number of starts."""
    (first,) = still_kept([OTHER], now=1000, kept=100)
    assert first.unused_since == 1000
    (second,) = still_kept([first], now=1099, kept=100)
    assert second == first
    assert still_kept([second], now=1100, kept=100) == ()
