"""``crush-trio model-script``: a script that other programs can talk to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from crush_trio.providers.base import ModelMessage, ModelRequest, TextDelta
from crush_trio.providers.openai import open_openai_provider
from limits_kit import PROCESS_LIMIT

SCRIPT = 'answers = [[{ say = "Hello" }], "World"]'


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "crush_trio", "model-script", *args]


@contextmanager
def running(args: Sequence[str]) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        try:
            yield it
        finally:
            it.kill()


async def first_text(base_url: str) -> str:
    ask = ModelRequest("m", [ModelMessage("user", "hi")])
    async with open_openai_provider(name="s", base_url=base_url, api_key="k") as provider:
        async with provider.stream(ask) as deltas:
            delta = await anext(deltas)
    assert isinstance(delta, TextDelta)
    return delta.text


def test_it_plays_for_any_program_until_it_is_interrupted(tmp_path: Path) -> None:
    """It prints its base URL once it listens, on loopback; each request gets the next answer."""
    file = tmp_path / "script.toml"
    file.write_text(SCRIPT)
    with running(command(str(file))) as it:
        assert it.stdout is not None
        base_url = it.stdout.readline().strip()
        assert base_url.startswith("http://127.0.0.1:")
        assert base_url.endswith("/v1")

        async def ask() -> list[str]:
            with trio.fail_after(PROCESS_LIMIT):
                return [await first_text(base_url) for _ in range(3)]

        assert trio.run(ask) == ["Hello", "World", "ok"]
        it.send_signal(signal.SIGINT)
        assert it.wait(PROCESS_LIMIT) == 0


@pytest.mark.promise("C4")
def test_a_script_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """Before anything listens."""
    file = tmp_path / "script.toml"
    file.write_text('answers = [{ sing = "la" }]')
    done = subprocess.run(
        command(str(file)), capture_output=True, check=False, text=True, timeout=PROCESS_LIMIT
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "answers[0] has none of the operations" in done.stderr


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    """With what to do."""
    file = tmp_path / "script.toml"
    file.write_text(SCRIPT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            command(str(file), "--port", str(port)),
            capture_output=True,
            check=False,
            text=True,
            timeout=PROCESS_LIMIT,
        )
    assert done.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}: address already in use" in done.stderr
    assert "Traceback" not in done.stderr
