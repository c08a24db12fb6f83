"""The outside world as a configuration needs it: real commands (agent contract 3.11)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from crush_trio.config import Endpoint
from crush_trio.errors import ConfigError
from crush_trio.settings import Settings
from crush_trio.tools.processes import run_shell
from crush_trio.wire.config import Model
from crush_trio.workspaces.outside import OUTPUT_LIMIT, ShellAndModels

ENV = {"PATH": os.environ["PATH"], "A": "a b"}


async def nobody(_: Endpoint) -> tuple[Model, ...]:
    return ()


OUTSIDE = ShellAndModels(run_shell, nobody, Settings())


async def run(command: str, directory: Path) -> str:
    with trio.fail_after(5):
        return await OUTSIDE.run(command, env=ENV, working_dir=directory)


async def test_a_command_has_its_environment_and_directory_and_no_input(tmp_path: Path) -> None:
    """Line ends behind what it prints are cut, as in a shell."""
    assert await run('echo "$A"; pwd; cat; echo', tmp_path) == f"a b\n{tmp_path}"


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo s3cret; echo s3cret >&2; exit 3", "the command failed with exit status 3"),
        ("no-such-command-at-all", "exit status 127"),
        (f"head -c {3 * OUTPUT_LIMIT} /dev/zero", "printed more than"),
        ("a\0b", "cannot be started"),
    ],
)
async def test_a_command_that_fails_says_so_and_nothing_that_it_printed(
    tmp_path: Path, command: str, words: str
) -> None:
    """What it printed may be half of a secret."""
    with pytest.raises(ConfigError, match=words) as caught:
        await run(command, tmp_path)
    assert "s3cret" not in str(caught.value)


async def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """And not a traceback."""
    with pytest.raises(ConfigError, match="cannot be started"):
        await run("true", tmp_path / "gone")
