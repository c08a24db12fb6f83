"""A day of Crush's own client, recorded: the same requests here, and the same answers."""

from __future__ import annotations

import signal
from pathlib import Path

import attrs
import trio

from crush_trio.server.model_script import open_model_server
from golden_kit import DAY, Names, RecordedModel, document
from process_kit import ServerProcess, open_server_process
from replay_kit import Replay

LIMIT = 600
"""Seconds for all of it; it takes six where nothing else runs."""


@attrs.define(eq=False)
class Servers:
    """The server's process, and the next one at its address."""

    tmp_path: Path
    config: object
    nursery: trio.Nursery
    process: ServerProcess = attrs.field(init=False)

    async def start(self) -> ServerProcess:
        """Start one."""
        self.process = await self.nursery.start(self._keep)
        return self.process

    async def _keep(self, *, task_status: trio.TaskStatus[ServerProcess]) -> None:
        async with open_server_process(self.tmp_path, document=self.config) as process:
            task_status.started(process)
            await process.wait()

    async def restart(self, how: str) -> None:
        """End it as in the recording, and start the next."""
        self.process.signal(signal.SIGTERM if how == "server broke it" else signal.SIGKILL)
        await self.process.wait()
        await self.start()


async def test_the_recorded_day_of_the_real_client_goes_the_same_way_here(tmp_path: Path) -> None:
    """Eleven recordings in the order in which they were made, in one project: `crush run` new,
    continued, failing and cancelled by another client; the terminal client's start, prompt,
    permissions, queue and cancel, change of sessions, and two restarts of the server under it.
    Every reply and every object's events are compared; what may differ is in the kit's tables."""
    model = RecordedModel()
    with trio.fail_after(LIMIT):
        async with open_model_server(model) as base_url, trio.open_nursery() as nursery:
            servers = Servers(tmp_path, document(base_url), nursery)
            server = await servers.start()
            (server.directory / "AGENTS.md").touch()  # else the client would offer to write one
            own = {
                "$PROJECT": str(server.directory),
                "$HOME": str(tmp_path / "home"),
                "$LLM/v1": base_url,
            }
            replay = Replay(server, model, Names(own), nursery, servers.restart)
            for name in DAY:
                await replay.play(name)
            nursery.cancel_scope.cancel("the day is over")
    assert replay.problems == [], "\n".join(replay.problems)
