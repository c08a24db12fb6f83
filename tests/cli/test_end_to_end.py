"""Real commands against a real server, as users have them; the model is a script."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.script import Call, Fail, Hang, Say
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server.model_script import open_model_server
from limits_kit import PROCESS_LIMIT

PROGRAM = [sys.executable, "-P", "-m", "crush_trio"]

WITH_TERMINAL = (
    "import fcntl, os, sys, termios;"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes stdin the controlling terminal, so that a typed Ctrl-C is a signal."""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, str]]:
    """The environment of a server that runs meanwhile, and of its clients."""
    home = tmp_path_factory.mktemp("home")
    homes = {f"XDG_{name}_HOME": str(home) for name in ("CONFIG", "DATA", "CACHE", "STATE")}
    environ = {**os.environ, **homes, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    server = subprocess.Popen([*PROGRAM, "serve"], env=environ, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PROCESS_LIMIT
        while not list(home.glob("crush-*.sock")):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield environ
    finally:
        server.terminate()
        assert server.wait(PROCESS_LIMIT) == 0


@attrs.define
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str


@attrs.define
class Project:
    """A directory with a configured model, and commands in it."""

    path: Path
    environ: dict[str, str]
    model: ScriptedModel

    async def command(self, *args: str) -> Ended:
        """Run a command to its end."""
        done = await trio.run_process(
            [*PROGRAM, *args],
            cwd=self.path,
            env=self.environ,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    async def on_terminal(self, *args: str, type_at: dict[str, str]) -> Ended:
        """Run a command on a terminal, and type each text once its prompt has been printed."""
        master, slave = pty.openpty()
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", WITH_TERMINAL, *PROGRAM, *args],
            cwd=self.path,
            env=self.environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        seen, waiting = b"", list(type_at.items())
        async with trio.lowlevel.FdStream(master) as terminal:
            try:
                while chunk := await terminal.receive_some():
                    seen += chunk
                    if waiting and waiting[0][0].encode() in seen:
                        await terminal.send_all(waiting.pop(0)[1].encode())
            except trio.BrokenResourceError:  # how a terminal ends
                pass
        return Ended(await process.wait(), seen.decode().replace("\r\n", "\n"), "")

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[Callable[[str], Awaitable[str]]]:
        """Watch; yields what waits until a text has been printed, and returns all there was."""
        printed = ""
        process = await trio.lowlevel.open_process(
            [*PROGRAM, "watch"],
            cwd=self.path,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        output = process.stdout

        async def wait_printed(text: str) -> str:
            nonlocal printed
            while text not in printed:
                printed += (await output.receive_some()).decode()
                assert process.poll() is None
            return printed

        async with output:
            await wait_printed("watching")
            yield wait_printed
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130


Opener = Callable[[ScriptedModel], AbstractAsyncContextManager[Project]]


@pytest.fixture
def open_project(environ: dict[str, str], tmp_path: Path) -> Opener:
    """Return what opens a project."""

    @asynccontextmanager
    async def open_project(model: ScriptedModel) -> AsyncGenerator[Project]:
        async with open_model_server(model) as url:
            chosen = {"model": "scripted", "provider": "script"}
            provider = {
                "type": "openai-compat",
                "base_url": url,
                "api_key": "none",
                "models": [{"id": "scripted", "context_window": 10**5, "default_max_tokens": 999}],
            }
            config = {
                "models": {"large": chosen, "small": chosen},
                "providers": {"script": provider},
                "options": {"disable_default_providers": True},
            }
            (tmp_path / "crush.json").write_text(json.dumps(config))
            yield Project(tmp_path, environ, model)

    return open_project


async def test_run_prints_the_answer_and_the_session_goes_on(open_project: Opener) -> None:
    """What everybody does first: a prompt, another one in the same session, a look at the list."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_project(ScriptedModel("Hello *you*.", "And again.")) as project:
            first = await project.command("run", "say", "hello")
            assert (first.status, first.out, first.err) == (0, "Hello *you*.\n", "")
            again = await project.command("run", "--continue", "--json", "once more")
            told = json.loads(again.out)
            assert (again.status, told["outcome"], told["text"]) == (0, "completed", "And again.")
            listed = json.loads((await project.command("sessions", "--json")).out)
            assert [session["uuid"] for session in listed] == [told["session_id"]]


async def test_ctrl_c_cancels_the_run_on_the_server(open_project: Opener) -> None:
    """What there was stays on the screen and in the store; the provider's connection closes."""
    model = ScriptedModel([Say("Once upon a time"), Hang()])
    with trio.fail_after(PROCESS_LIMIT):
        async with open_project(model) as project:
            ended = await project.on_terminal("run", "a story", type_at={"a time": "\x03"})
            assert ended.status == 130
            assert "Once upon a time" in ended.out
            await model.wait_closed(1)


async def test_a_permission_is_asked_for_on_the_terminal(open_project: Opener) -> None:
    """The answer reaches the tool, and the turn goes on."""
    call = Call("bash", {"command": "echo done > made.txt", "description": "make it"})
    with trio.fail_after(PROCESS_LIMIT):
        async with open_project(ScriptedModel([call], "I made it.")) as project:
            ended = await project.on_terminal("run", "make it", type_at={"Allow it?": "y\n"})
            assert (ended.status, (project.path / "made.txt").read_text()) == (0, "done\n")
            assert "bash asks for permission" in ended.out
            assert "I made it." in ended.out


async def test_a_failing_provider_fails_the_command(open_project: Opener) -> None:
    """The message says what failed, on stderr, without a traceback."""
    model = ScriptedModel(Fail(ProviderError("no tokens left", http_status=402)))
    with trio.fail_after(PROCESS_LIMIT):
        async with open_project(model) as project:
            ended = await project.command("run", "hello")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("Error: ")
    assert "no tokens left" in ended.err
    assert "Traceback" not in ended.err


async def test_other_commands_watch_and_cancel_a_run(open_project: Opener) -> None:
    """Sessions are shared: who did not start a run can follow it and end it."""
    model = ScriptedModel([Say("Working on it"), Hang()])
    ended: list[Ended] = []
    with trio.fail_after(PROCESS_LIMIT):
        async with open_project(model) as project, project.watching() as watched:

            async def run() -> None:
                ended.append(await project.command("run", "work"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await model.wait_request(1)
                cancelled = await project.command("cancel", "--wait")
            told = await watched("cancelled")
    assert (cancelled.status, cancelled.out.split()[1]) == (0, "cancelled")
    assert (ended[0].status, ended[0].err) == (0, "the run was cancelled\n")  # by somebody else
    assert "user: work" in told
    assert "assistant: Working on it" in told
