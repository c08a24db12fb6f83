"""What the tests of tools share: a workspace's surroundings in small, and an ear for processes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from crush_trio.ids import MessageID, SessionID
from crush_trio.permissions import Permissions
from crush_trio.questions import Questions
from crush_trio.settings import Settings
from crush_trio.store import Store, open_memory_store
from crush_trio.tools.base import Surroundings, ToolAnswer, ToolContext
from crush_trio.tools.jobs import Jobs, open_jobs
from crush_trio.tools.processes import Shell, run_shell
from crush_trio.tools.registry import builtin_tools
from crush_trio.wire.config import LsLimits, ToolsConfig
from crush_trio.wire.events import Event, File
from crush_trio.wire.permissions import GrantAction, PermissionRequest


@attrs.define(eq=False)
class Toolbox:
    """A workspace as its tools see it, with a person who answers every request alike.

    Attributes:
        answer: What that person answers; None leaves the request open.
        asked: The requests so far.
        events: What clients were told.
    """

    working_dir: Path
    answer: GrantAction | None = "allow"
    events: list[Event] = attrs.field(factory=list[Event], init=False)
    asked: list[PermissionRequest] = attrs.field(factory=list[PermissionRequest], init=False)
    request: trio.Event = attrs.field(factory=trio.Event, init=False)
    permissions: Permissions = attrs.field(init=False)
    context: ToolContext = attrs.field(init=False)

    def publish(self, event: Event) -> None:
        """Hear an event, and answer if it is a request."""
        self.events.append(event)
        if isinstance(event.payload, PermissionRequest):
            self.asked.append(event.payload)
            self.request.set()
            if self.answer is not None:
                assert self.permissions.answer(event.payload.id, self.answer)

    @property
    def versions(self) -> list[tuple[int, str]]:
        """The file versions that clients were told of, with their contents."""
        files = [event.payload for event in self.events if isinstance(event.payload, File)]
        return [(file.version, file.content) for file in files]

    @property
    def jobs(self) -> Jobs:
        """The background shells."""
        return self.context.around.jobs

    @property
    def store(self) -> Store:
        """The store."""
        return self.context.around.store

    async def call(self, tool: str, **arguments: Any) -> ToolAnswer:
        """Call a tool as a model does, with JSON text."""
        return await self.call_text(tool, json.dumps(arguments))

    async def call_text(self, tool: str, arguments: str) -> ToolAnswer:
        """Call a tool with any text."""
        (found,) = (one for one in builtin_tools() if one.name == tool)
        return await found.run(arguments, self.context)


@asynccontextmanager
async def open_toolbox(
    working_dir: Path,
    *,
    shell: Shell = run_shell,
    settings: Settings | None = None,
    env: Mapping[str, str] | None = None,
    limits: LsLimits | None = None,
    tools: ToolsConfig | None = None,
    skills_paths: tuple[str, ...] = (),
    supports_images: bool = False,
) -> AsyncGenerator[Toolbox]:
    """Open a workspace's surroundings; leaving the block closes its jobs and its store."""
    settings = settings or Settings(kill_grace=0.3)
    box = Toolbox(working_dir)
    box.permissions = Permissions(box.publish, working_dir=str(box.working_dir))
    async with open_memory_store(box.publish) as store, open_jobs(settings, shell=shell) as jobs:
        session = await store.create_session("Test").wait()
        around = Surroundings(
            working_dir=str(box.working_dir),
            env=dict(os.environ) if env is None else env,
            permissions=box.permissions,
            questions=Questions(box.publish),
            jobs=jobs,
            store=store,
            settings=settings,
            limits=tools or ToolsConfig(ls=limits or LsLimits()),
            skills_paths=skills_paths,
        )
        box.context = ToolContext(
            SessionID(session.id), MessageID("m1"), "call_1", around, supports_images, "blind"
        )
        yield box


class Ear:
    """A named pipe through which the commands of a test say where they are."""

    def __init__(self, path: Path, stream: trio.lowlevel.FdStream) -> None:
        self.path = path
        self._stream = stream
        self._heard = b""

    async def line(self) -> str:
        """Wait for the next line that some command has written to ``path``."""
        while b"\n" not in self._heard:
            self._heard += await self._stream.receive_some()
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    async def pid(self) -> int:
        """Wait for a process that says its number."""
        return int(await self.line())


@asynccontextmanager
async def open_ear(directory: Path) -> AsyncGenerator[Ear]:
    """Make a named pipe in a directory and listen to it."""
    path = directory / "ear"
    os.mkfifo(path)
    stream = trio.lowlevel.FdStream(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    async with stream:
        yield Ear(path, stream)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def wait_gone(pid: int) -> None:
    """Return once a process has ended, whoever's child it is."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)
