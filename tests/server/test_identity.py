"""What the server says it is, and who may stop it (wire contract 3.1, 10.5, R-02, R-04)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from crush_trio.errors import ConfigError
from crush_trio.server.identity import PretendedCrush, base36
from limits_kit import REAL_LIMIT
from world_kit import open_world


def program(tmp_path: Path, script: str, stamp: int = 1_754_000_000_123_456_789) -> Path:
    path = tmp_path / "crush"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    os.utime(path, ns=(stamp, stamp))
    return path


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (35, "z"), (36, "10"), (1_754_000_000_123_456_789, "dbql3w6njaxh")],
)
def test_numbers_are_written_as_go_writes_them(number: int, text: str) -> None:
    """In base 36, lower case."""
    assert base36(number) == text
    assert int(text, 36) == number


async def test_r02_a_server_says_what_it_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Five texts; no client of Crush takes it for its own."""
    async with open_world(tmp_path) as world:
        reply = await world.request("GET", "/v1/version")
        assert set(reply.json) == {"version", "commit", "build_id", "go_version", "platform"}
        assert all(isinstance(value, str) and value for value in reply.json.values())
        assert reply.json["build_id"].startswith("crush-trio-")


@pytest.mark.parametrize("command", ["shutdown", "shutdown_if_idle"])
async def test_r04_no_client_stops_the_server(
    autojump_clock: MockClock, tmp_path: Path, command: str
) -> None:
    """Also an idle one (wire contract 0): a client of another version uses it as it is."""
    async with open_world(tmp_path) as world:
        reply = await world.request("POST", "/v1/control", {"command": command})
        assert (reply.status, reply.json) == (
            409,
            {"message": "server is hosting live workspaces"},
        )
        assert (await world.request("GET", "/v1/health")).status == 200


@pytest.mark.parametrize("printed", ["crush version v0.90.0 (abc)", "v0.90.0"])
async def test_it_can_say_what_a_program_of_crush_expects(tmp_path: Path, printed: str) -> None:
    """The version that it prints, and the build id that its clients compute from its file."""
    with trio.fail_after(REAL_LIMIT):
        info = await PretendedCrush(program(tmp_path, f"echo '{printed}'"))()
    assert (info.version, info.build_id) == ("v0.90.0", "dbql3w6njaxh")


async def test_an_upgrade_of_that_program_is_noticed(tmp_path: Path) -> None:
    """And it is run again only then."""
    log = tmp_path / "log"
    path = program(tmp_path, f"echo ran >> {log}; echo v1")
    identity = PretendedCrush(path)
    with trio.fail_after(REAL_LIMIT):
        assert (await identity()).version == (await identity()).version == "v1"
        assert log.read_text() == "ran\n"
        program(tmp_path, "echo v2", stamp=36)
        info = await identity()
    assert (info.version, info.build_id) == ("v2", "10")


@pytest.mark.promise("C4")
@pytest.mark.parametrize("script", ["exit 1", "true", "echo v1; exit 2"])
async def test_a_program_that_says_no_version_is_refused(tmp_path: Path, script: str) -> None:
    """The message names it."""
    path = program(tmp_path, script)
    with trio.fail_after(REAL_LIMIT):
        with pytest.raises(ConfigError, match=f"{path} --version did not print a version"):
            await PretendedCrush(path)()
        path.unlink()
        with pytest.raises(ConfigError, match=f"{path}: No such file"):
            await PretendedCrush(path)()
