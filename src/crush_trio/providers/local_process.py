"""The owner's end of the embedded model's process: start it, know that it answers, end it.

``local_child`` is what runs there, and says how the two talk.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import msgspec
import trio

from crush_trio.errors import LocalModelError
from crush_trio.providers import local_child
from crush_trio.providers.local_openmp import with_openmp

START_TIMEOUT = 60.0
"""Seconds for the process to load its model: 1 on an idle machine, some more on a slow disk."""

TERM_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL; only a stopped process needs the latter."""

END_TIMEOUT = 5.0
"""Seconds for all of the end. Nobody waits longer for a process that the kernel does not give up."""

TAIL_BYTES = 1000
"""How much of the process's last words an error shows."""


@attrs.frozen
class ChildQuestion:
    """What the process is to serve; see ``local_child`` for the fields."""

    weights: Path
    model: str
    window: int
    slots: int
    port: int = 0


class _Answer(msgspec.Struct, frozen=True):
    address: str


@attrs.frozen
class Child:
    """A process that answers requests.

    Attributes:
        address: Where it listens, ``http://127.0.0.1:PORT``.
        key: The bearer token that it asks for.
    """

    process: trio.Process = attrs.field(repr=False)
    address: str
    key: str = attrs.field(repr=False)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    async def wait(self) -> str:
        """Wait until the process has ended; return how."""
        return _describe(await self.process.wait())


@asynccontextmanager
async def open_child(
    question: ChildQuestion, *, environ: Mapping[str, str] | None = None
) -> AsyncGenerator[Child]:
    """Start the process and wait until it answers; leaving the block ends it.

    Args:
        question: What it is to serve.
        environ: Its environment; ours if None.

    Raises:
        LocalModelError: it did not start; the text holds the end of what it said.
    """
    if not question.weights.is_file():
        raise LocalModelError(
            f"the embedded model is not at {str(question.weights)!r}: run `crush-trio models pull`"
        )
    key = secrets.token_urlsafe(32)
    with tempfile.TemporaryFile() as said:
        env = with_openmp(
            os.environ if environ is None else environ, question.weights.resolve().parent
        )
        process = await _open_process(said.fileno(), env)
        try:
            line = await _ask(process, question, key)
            if not line:
                raise LocalModelError(_why_not(process.returncode, said.fileno(), question.weights))
            answer = msgspec.json.decode(line, type=_Answer)
            yield Child(process, answer.address, key)
        finally:
            with trio.move_on_after(END_TIMEOUT, shield=True):
                await _end(process)


async def _open_process(stderr: int, environ: Mapping[str, str]) -> trio.Process:
    # -P: nothing in the directory of the project that is worked on may be imported.
    # A session of its own: a terminal's Ctrl-C is for us, and we end it when we are done.
    try:
        return await trio.lowlevel.open_process(
            [sys.executable, "-P", local_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            env=environ,
        )
    except OSError as error:
        raise LocalModelError(f"cannot start {sys.executable!r}: {error.strerror}") from error


async def _ask(process: trio.Process, question: ChildQuestion, key: str) -> bytes:
    """Put the question and return the line that answers it; empty if the process ended or hangs."""
    assert process.stdin is not None
    assert process.stdout is not None
    fields = attrs.asdict(question) | {"weights": str(question.weights.absolute()), "key": key}
    line = b""
    with trio.move_on_after(START_TIMEOUT):
        try:
            await process.stdin.send_all(msgspec.json.encode(fields) + b"\n")
            while not line.endswith(b"\n"):
                data = await process.stdout.receive_some()
                if not data:
                    await process.wait()
                    return b""
                line += data
        except trio.BrokenResourceError:
            await process.wait()
            return b""
        return line
    return b""


async def _end(process: trio.Process) -> None:
    """Close the process's pipes, end it and reap it."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        await trio.aclose_forcefully(pipe)
    process.terminate()
    with trio.move_on_after(TERM_GRACE):
        await process.wait()
    process.kill()
    await process.wait()


def _why_not(returncode: int | None, said: int, weights: Path) -> str:
    """Return why the process did not start, and what to do."""
    if returncode == local_child.MISSING:
        return (
            "the embedded model needs xllamacpp, which is not installed: "
            "run `pip install 'crush-trio[local]'`"
        )
    size = os.fstat(said).st_size
    tail = os.pread(said, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode(errors="replace").strip()
    return (
        f"the embedded model did not start, {_describe(returncode)}; if its file is damaged, "
        f"remove {str(weights)!r} and run `crush-trio models pull`"
        + (f". It said:\n{tail}" if tail else "")
    )


def _describe(returncode: int | None) -> str:
    if returncode is None:
        return f"not ready after {START_TIMEOUT:g} seconds"
    if returncode < 0:
        return f"ended by {signal.Signals(-returncode).name}"
    return f"exit status {returncode}"
