"""Clients of a simulated world without HTTP: they do what requests do, in tasks of the program.

What a client starts is a :class:`Call`: a request that is answered, refused, or lost with its
server. A client that leaves cancels its calls and nothing else, as a lost connection does (R2).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import trio

from crush_trio.hub import Wish
from crush_trio.ids import ClientID, RunID, SessionID
from crush_trio.messages import Prompt
from crush_trio.runs import Ending, Run
from crush_trio.testing.place import PROJECT
from crush_trio.wire.events import Event
from crush_trio.wire.permissions import GrantAction
from crush_trio.wire.runs import CancelReceipt
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces import Workspace

if TYPE_CHECKING:
    from crush_trio.testing.core import Core
    from crush_trio.testing.life import Life


@attrs.frozen
class Reply:
    """What a request was answered.

    Attributes:
        status: As HTTP has it; 0 if the connection was lost.
        body: What came, if it was a 200; for a prompt its run's :class:`Ending`.
        error: What a refusal or a failure says.
    """

    status: int
    body: Any = None
    error: str = ""

    @property
    def lost(self) -> bool:
        """Whether the connection ended before an answer."""
        return self.status == 0


LOST = Reply(0, error="the connection was lost")


@attrs.define(eq=False)
class Call:
    """A request on its way.

    Attributes:
        life: The life of the server that took it; None if there was none.
        dropped: Its client has left.
        run: What its prompt was accepted as, if it was a prompt.
        done: Set when there is a reply.
    """

    what: str
    life: Life | None
    reply: Reply | None = None
    dropped: bool = False
    run: Run | Ending | None = None
    done: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def drop(self) -> None:
        """Leave before the answer. Not a checkpoint."""
        if not self.done.is_set():
            self.dropped = True
            self.scope.cancel("the client has left")

    def end(self, reply: Reply) -> None:
        """Take the answer. Not a checkpoint."""
        self.reply = LOST if self.dropped else reply
        self.done.set()


@attrs.define(eq=False)
class Stream:
    """An event stream of a client, and what came on it.

    Attributes:
        events: Everything that was read, in order.
        settled_before: Runs that had settled before it was attached.
        attached: Whether it was ever open.
        workspace_id: Where it is.
        last_id: The id of the last event, where ids were asked for.
        ended: Whether the server has ended it, properly.
        paused: While true nothing is read.
    """

    client: Client
    call: Call
    events: list[Event] = attrs.field(factory=list[Event])
    settled_before: frozenset[str] = frozenset()
    attached: bool = False
    workspace_id: str = ""
    last_id: int | None = None
    ended: bool = False
    paused: bool = False
    resumed: trio.Event = attrs.field(factory=trio.Event)

    def drop(self) -> None:
        """Leave: the connection is gone. Not a checkpoint."""
        self.call.drop()

    def pause(self) -> None:
        """Read nothing from now on. Not a checkpoint."""
        self.paused, self.resumed = True, trio.Event()

    def resume(self) -> None:
        """Read again. Not a checkpoint."""
        self.paused = False
        self.resumed.set()


@attrs.define(eq=False)
class Client:
    """Somebody who uses the server. Use :meth:`Core.client`."""

    core: Core
    name: str
    workspace_id: str = ""
    streams: list[Stream] = attrs.field(factory=list[Stream])
    prompts: list[Call] = attrs.field(factory=list[Call])

    # --- workspaces ----------------------------------------------------------------------

    def join(self, directory: str = PROJECT) -> Call:
        """Create or join the workspace of a directory; the reply's body is its id."""
        path = str(self.core.place.directory(directory))

        async def work(life: Life) -> str:
            workspace = await life.host.open(CreateWorkspace(path), ClientID(self.name))
            self.workspace_id = workspace.id
            self.core.remembered.discard(workspace.id)
            return workspace.id

        return self.core.call(f"{self.name} joins", work)

    def release(self) -> Call:
        """Say goodbye to the workspace."""

        async def work(life: Life) -> None:
            await trio.lowlevel.checkpoint()
            life.release(self)

        return self.core.call(f"{self.name} releases", work)

    def retire(self) -> Call:
        """Say goodbye to everything."""

        async def work(life: Life) -> None:
            await trio.lowlevel.checkpoint()
            life.retire(self)

        return self.core.call(f"{self.name} retires", work)

    def listen(self, wish: Wish | None = None) -> Stream:
        """Open an event stream; what comes is in the stream's events."""
        streams: list[Stream] = []

        async def work(life: Life) -> None:
            await life.listen(streams[0], wish)

        call = self.core.call(f"{self.name} listens", work)
        streams.append(Stream(self, call))
        self.streams.append(streams[0])
        return streams[0]

    # --- prompts ---------------------------------------------------------------------------

    def prompt(self, text: str, run_id: str = "", session: str = "main") -> Call:
        """Prompt, and wait until the run has settled, as a POST does; the body is its ending."""
        calls: list[Call] = []

        async def work(life: Life) -> Ending:
            workspace = await self._workspace(life)
            accepted = workspace.submit(
                SessionID(session), Prompt(text), RunID(run_id) if run_id else None
            )
            calls[0].run = accepted
            life.note(accepted)
            return await life.answered(workspace.observer, accepted, run_id)

        call = self.core.call(f"{self.name} prompts {text!r}", work)
        calls.append(call)
        self.prompts.append(call)
        return call

    def drop(self) -> None:
        """Lose the connections of all open prompts. Not a checkpoint."""
        for call in self.prompts:
            call.drop()

    def cancel(self, session: str = "main", *, wait: bool = False) -> Call:
        """Cancel a session; the body is the receipt, of when all is settled if ``wait``."""

        async def work(life: Life) -> CancelReceipt:
            workspace = await self._workspace(life)
            receipt = life.cancel(workspace, session)
            if wait:
                await receipt.wait_settled()
            return receipt.snapshot()

        return self.core.call(f"{self.name} cancels {session}", work)

    def clear(self, session: str = "main") -> Call:
        """Clear a session's queue."""

        async def work(life: Life) -> None:
            life.clear(await self._workspace(life), session)

        return self.core.call(f"{self.name} clears {session}", work)

    # --- sessions and decisions ---------------------------------------------------------------

    def create_session(self, session: str = "main") -> Call:
        """Make a session with this id."""

        async def work(life: Life) -> None:
            workspace = await self._workspace(life)
            store = workspace.data.store
            await store.create_session("New Session", session_id=SessionID(session)).wait()
            if not life.dead:
                self.core.created.add(session)

        return self.core.call(f"{self.name} creates {session}", work)

    def delete_session(self, session: str = "main") -> Call:
        """Delete a session."""

        async def work(life: Life) -> None:
            workspace = await self._workspace(life)
            await life.delete(workspace, session)

        return self.core.call(f"{self.name} deletes {session}", work)

    def messages(self, session: str = "main") -> Call:
        """Read a session's history; the body is the stored messages."""

        async def work(life: Life) -> object:
            workspace = await self._workspace(life)
            await workspace.sessions.flush(SessionID(session))
            return await workspace.data.store.messages(SessionID(session))

        return self.core.call(f"{self.name} reads {session}", work)

    def answer(self, action: GrantAction = "allow", request_id: str = "") -> Call:
        """Answer a permission request, by default the open one; the body tells whether it counted."""

        async def work(life: Life) -> bool:
            workspace = await self._workspace(life)
            return life.answer(workspace, action, request_id)

        return self.core.call(f"{self.name} answers {action}", work)

    async def _workspace(self, life: Life) -> Workspace:
        return await life.find(self.workspace_id)


Work = Callable[["Life"], Awaitable[Any]]
"""What a request does in a life of the server."""


def as_reply(body: object) -> Reply:
    """Return the reply that a request's work comes to: a failed run is an error (R7)."""
    if isinstance(body, Ending) and body.outcome == "failed":
        return Reply(body.status, body, body.error)
    return Reply(200, None if body is msgspec.UNSET else body)
