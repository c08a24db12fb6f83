"""What a scenario's clients do, as plain data: a list of these is a scenario's story.

Each is frozen and can be written down, left out or shortened. Whatever has happened meanwhile, it
ends: a request may be refused or lost, and nobody waits for longer than
:data:`~crush_trio.testing.core.PATIENCE`.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from crush_trio.hub import Wish
from crush_trio.testing.core import Core
from crush_trio.testing.place import PROJECT
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import GrantAction


class Operation(Protocol):
    """One line of a story."""

    async def __call__(self, core: Core) -> None:
        """Do it, in a world that may have changed in any way."""
        ...


# --- who is there -------------------------------------------------------------------------


@attrs.frozen
class Join:
    """Create or join a workspace."""

    client: str = "a"
    directory: str = PROJECT

    async def __call__(self, core: Core) -> None:
        """Wait until it is open."""
        await core.done(core.client(self.client).join(self.directory))


@attrs.frozen
class Release:
    """Say goodbye to the workspace."""

    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Wait for the answer."""
        await core.done(core.client(self.client).release())


@attrs.frozen
class Retire:
    """Say goodbye to everything."""

    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Wait for the answer."""
        await core.done(core.client(self.client).retire())


@attrs.frozen
class Listen:
    """Open an event stream; one with ids goes on where the client's last one with ids was lost."""

    client: str = "a"
    ids: bool = False

    async def __call__(self, core: Core) -> None:
        """Wait until it is attached, or refused."""
        client = core.client(self.client)
        last = next((each.last_id for each in reversed(client.streams) if each.last_id), None)
        stream = client.listen(Wish(last) if self.ids else None)
        await core.until(lambda: stream.attached or stream.call.done.is_set())


@attrs.frozen
class Deafen:
    """Lose the event streams' connections."""

    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Do not wait."""
        for stream in core.client(self.client).streams:
            stream.drop()
        await trio.lowlevel.checkpoint()


@attrs.frozen
class Stall:
    """Read nothing from the event streams."""

    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Do not wait."""
        for stream in core.client(self.client).streams:
            stream.pause()
        await trio.lowlevel.checkpoint()


# --- sessions and prompts ---------------------------------------------------------------------


@attrs.frozen
class Create:
    """Make a session."""

    session: str = "main"
    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Wait until it is stored."""
        await core.done(core.client(self.client).create_session(self.session))


@attrs.frozen
class Delete:
    """Delete a session."""

    session: str = "main"
    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Wait until it is gone."""
        await core.done(core.client(self.client).delete_session(self.session))


@attrs.frozen
class Prompt:
    """Post a prompt; its caller waits beside the story. Without a run id it may fold."""

    text: str
    run_id: str = ""
    client: str = "a"
    session: str = "main"

    async def __call__(self, core: Core) -> None:
        """Wait until it is accepted, or refused."""
        call = core.client(self.client).prompt(self.text, self.run_id, self.session)
        await core.until(lambda: call.run is not None or call.done.is_set())


@attrs.frozen
class Hurry:
    """Post several prompts at once, and wait for none of them to be accepted."""

    texts: tuple[str, ...]
    client: str = "a"
    session: str = "main"

    async def __call__(self, core: Core) -> None:
        """Do not wait."""
        for text in self.texts:
            core.client(self.client).prompt(text, text, self.session)
        await trio.lowlevel.checkpoint()


@attrs.frozen
class Drop:
    """Lose the connections of a client's open prompts."""

    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Do not wait."""
        core.client(self.client).drop()
        await trio.lowlevel.checkpoint()


@attrs.frozen
class Cancel:
    """Cancel a session."""

    client: str = "b"
    session: str = "main"
    wait: bool = False

    async def __call__(self, core: Core) -> None:
        """Wait for the receipt."""
        await core.done(core.client(self.client).cancel(self.session, wait=self.wait))


@attrs.frozen
class Clear:
    """Clear a session's queue."""

    client: str = "b"
    session: str = "main"

    async def __call__(self, core: Core) -> None:
        """Wait for the answer."""
        await core.done(core.client(self.client).clear(self.session))


@attrs.frozen
class Answer:
    """Answer the permission request that is open, or comes."""

    action: GrantAction = "allow"
    client: str = "a"

    async def __call__(self, core: Core) -> None:
        """Wait until somebody is asked, then for the reply."""
        await core.until(lambda: _asked(core) or not _waiting(core))
        await core.done(core.client(self.client).answer(self.action))


@attrs.frozen
class Read:
    """Read a session's history."""

    client: str = "a"
    session: str = "main"

    async def __call__(self, core: Core) -> None:
        """Wait for it."""
        await core.done(core.client(self.client).messages(self.session))


# --- time, gates and faults -----------------------------------------------------------------------


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
        await core.until(lambda: _seen(core, self.text) or not _waiting(core))


@attrs.frozen
class UntilStanding:
    """Wait until a session's turn stands at something, as the model's watcher tells."""

    standing: str
    session: str = "main"

    async def __call__(self, core: Core) -> None:
        """Wait; not for a turn that is over."""
        await core.until(lambda: self._stands(core) or not _waiting(core))

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


def _waiting(core: Core) -> bool:
    """Whether somebody is left who may still do something."""
    return core.life is not None and bool(core.life.unsettled())


def _asked(core: Core) -> bool:
    life = core.life
    return life is not None and any(
        workspace.permissions.open_requests() for workspace in life.host.workspaces
    )


def _seen(core: Core, text: str) -> bool:
    return any(
        isinstance(event.payload, WireMessage)
        and event.payload.role == "assistant"
        and text in event.payload.text
        for stream in core.streams
        for event in stream.events
    )
