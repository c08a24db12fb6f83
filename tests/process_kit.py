"""A server in a process of its own: the command line's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from crush_trio.addresses import Address
from people_kit import Reachable
from project_kit import config, connect_to, make_project


@attrs.define(eq=False)
class ServerProcess(Reachable):
    """A server in a process of its own.

    Attributes:
        log: What it has written to its log.
        ended: Whether it will write no more.
    """

    process: trio.Process
    log: bytearray = attrs.field(factory=bytearray)
    ended: bool = False
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def said(self, text: bytes) -> None:
        """Wait until its log holds a text, or has ended without."""
        while text not in self.log and not self.ended:
            await self._changed.wait()

    async def read_log(self) -> None:
        """Read its log to the end."""
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.log += data
            self._change()
        self.ended = True
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def wait(self) -> int:
        """Wait for the end; return the exit status."""
        return await self.process.wait()


@asynccontextmanager
async def open_server_process(
    tmp_path: Path,
    *,
    name: str = "s",
    document: object = None,
    arguments: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    descriptors: int = 0,
    under: tuple[str, ...] = (),
) -> AsyncGenerator[ServerProcess]:
    """Run ``crush-trio serve`` on a unix socket; the block is entered when it listens.

    Leaving the block kills it, if it still runs.

    Args:
        tmp_path: As for :func:`open_world`.
        name: Of the socket, for a second server.
        document: The project's ``crush.json``.
        arguments: More arguments.
        env: More of the environment.
        descriptors: How many files it may have open at most, if not as many as this process.
        under: A program that becomes the server.
    """
    directory, environ = make_project(tmp_path, config() if document is None else document)
    address = Address("unix", path=str(tmp_path / name))
    command = [sys.executable, "-m", "crush_trio", "serve", "--host", str(address), *arguments]
    command = [*under, *command]
    if descriptors:
        command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
    tested = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    process = await trio.lowlevel.open_process(
        command, env={**environ, **tested, **(env or {})}, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    server = ServerProcess(directory, partial(connect_to, address), process)

    async with process.stderr, trio.open_nursery() as nursery:
        nursery.start_soon(server.read_log)
        try:
            await server.said(b"listening at")
            yield server
        finally:
            with trio.move_on_after(5, shield=True):
                if process.returncode is None:
                    process.kill()
                await process.wait()
        nursery.cancel_scope.cancel("the server has ended")
