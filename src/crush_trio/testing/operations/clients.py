"""What clients do: they come and go, listen, prompt, cancel and answer."""

from __future__ import annotations

import attrs
import trio

from crush_trio.hub import Wish
from crush_trio.testing.core import Core
from crush_trio.testing.operations.base import anybody_left
from crush_trio.testing.place import PROJECT
from crush_trio.wire.permissions import GrantAction

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
    """Open an event stream; one with ids goes on where the client's last one with ids was lost.

    One of deltas has ids too, and is told what is new in a message.
    """

    client: str = "a"
    ids: bool = False
    deltas: bool = False

    async def __call__(self, core: Core) -> None:
        """Wait until it is attached, or refused."""
        client = core.client(self.client)
        last = next((each.last_id for each in reversed(client.streams) if each.last_id), None)
        wished = self.ids or self.deltas
        stream = client.listen(Wish(last, self.deltas) if wished else None)
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
        await core.until(lambda: _asked(core) or not anybody_left(core))
        await core.done(core.client(self.client).answer(self.action))


@attrs.frozen
class Read:
    """Read a session's history."""

    client: str = "a"
    session: str = "main"

    async def __call__(self, core: Core) -> None:
        """Wait for it."""
        await core.done(core.client(self.client).messages(self.session))


def _asked(core: Core) -> bool:
    life = core.life
    return life is not None and any(
        workspace.permissions.open_requests() for workspace in life.host.workspaces
    )
