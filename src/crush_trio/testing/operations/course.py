"""What happens beside the clients: time passes, a turn gets somewhere, disks and servers fail."""

from __future__ import annotations

import attrs
import trio

from crush_trio.testing.core import Core
from crush_trio.testing.operations.base import anybody_left
from crush_trio.wire.messages import WireMessage


@attrs.frozen
class Sleep:
    """Let time pass."""

    seconds: float

    async def __call__(self, core: Core) -> None:  # noqa: ARG002 -- every operation has one
        """Wait."""
        await trio.sleep(self.seconds)


@attrs.frozen
class UntilText:
    """Wait until some stream has told of an answer that holds a text."""

    text: str

    async def __call__(self, core: Core) -> None:
        """Wait; not for a text that nobody is left to say."""
        await core.until(lambda: _seen(core, self.text) or not anybody_left(core))


@attrs.frozen
class UntilStanding:
    """Wait until a session's turn stands at something, as the model's watcher tells."""

    standing: str
    session: str = "main"

    async def __call__(self, core: Core) -> None:
        """Wait; not for a turn that is over."""
        await core.until(lambda: self._stands(core) or not anybody_left(core))

    def _stands(self, core: Core) -> bool:
        run = core.active(self.session)
        return run is not None and core.model.standing(run) == self.standing


@attrs.frozen
class UntilSettled:
    """Wait until everything that was accepted has settled."""

    async def __call__(self, core: Core) -> None:
        """Wait."""
        await core.quiet()


@attrs.frozen
class Open:
    """Open a gate that the model's script waits for."""

    gate: str

    async def __call__(self, core: Core) -> None:
        """Do not wait."""
        core.gate(self.gate).set()
        await trio.lowlevel.checkpoint()


@attrs.frozen
class FillDisk:
    """Let this many writes fail."""

    writes: float = 1

    async def __call__(self, core: Core) -> None:
        """Do not wait."""
        for disk in core.disks.all():
            disk.failing = self.writes
        await trio.lowlevel.checkpoint()


@attrs.frozen
class SlowDisk:
    """Let every write wait for so many seconds, and wait as long."""

    seconds: float

    async def __call__(self, core: Core) -> None:
        """Wait until the disks write again."""
        for disk in core.disks.all():
            disk.stuck = True
        await trio.sleep(self.seconds)
        for disk in core.disks.all():
            disk.let_go()


@attrs.frozen
class Stop:
    """Stop the server, as a signal does."""

    async def __call__(self, core: Core) -> None:
        """Wait until nothing of it is left."""
        await core.stop()


@attrs.frozen
class Kill:
    """Kill the server."""

    async def __call__(self, core: Core) -> None:
        """Wait until nothing of it is left."""
        if core.life is not None:
            core.life.kill()
        await core.stop()


@attrs.frozen
class Start:
    """Start the server again, if it does not run."""

    async def __call__(self, core: Core) -> None:
        """Wait until it runs."""
        if core.life is None or core.life.stopping.is_set():
            await core.restart()


def _seen(core: Core, text: str) -> bool:
    return any(
        isinstance(event.payload, WireMessage)
        and event.payload.role == "assistant"
        and text in event.payload.text
        for stream in core.streams
        for event in stream.events
    )
