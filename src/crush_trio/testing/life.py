"""One life of a simulated server: from its start to its stop, or to its death."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import attrs
import trio

from crush_trio.config import Endpoint
from crush_trio.errors import CrushTrioError, WorkspaceNotFoundError, error_text
from crush_trio.hub import Subscription, Wish
from crush_trio.ids import ClientID, SessionID
from crush_trio.monitor import Monitor, Violation
from crush_trio.observer import Observer
from crush_trio.providers.base import Provider
from crush_trio.runs import Ending, Receipt, Run, State, settled_answer
from crush_trio.testing.clients import LOST, Call, Client, Reply, Stream, Work, as_reply
from crush_trio.testing.running import virtual_now
from crush_trio.testing.saved import inline
from crush_trio.wire.deltas import MessageAssembler
from crush_trio.wire.events import Event
from crush_trio.wire.permissions import GrantAction
from crush_trio.wire.sse import SSEReader
from crush_trio.workspaces import Equipment, Workspace, WorkspaceHost, open_workspace_host
from crush_trio.workspaces.register import Register, open_register

if TYPE_CHECKING:
    from crush_trio.testing.core import Core


@attrs.define(eq=False)
class Life:
    """A running server. What clients do in it and what strikes it are the same methods.

    Attributes:
        host: Its workspaces.
        dead: The process has been killed: nothing it still does is seen by anybody.
        shut: It takes no requests any more.
        started: Set when it takes requests.
        stopping: Set when it was told to stop.
        ended: Set when nothing of it is left.
        runs: Every run that was accepted, in order.
        must_be_cancelled: Runs that a cancel has covered (R5).
        deleting: Sessions that are being deleted.
        decided: Permission requests that somebody's answer has decided.
        may_be_cancelled: Runs that a deletion or the end of a workspace reaches (R3).
    """

    core: Core
    host: WorkspaceHost = attrs.field(init=False)
    handlers: trio.Nursery = attrs.field(init=False)
    dead: bool = False
    shut: bool = False
    started: trio.Event = attrs.field(factory=trio.Event)
    stopping: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    runs: list[Run] = attrs.field(factory=list[Run])
    must_be_cancelled: set[Run] = attrs.field(factory=set[Run])
    may_be_cancelled: set[Run] = attrs.field(factory=set[Run])
    deleting: set[str] = attrs.field(factory=set[str])
    decided: list[str] = attrs.field(factory=list[str])
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    # --- its lifetime --------------------------------------------------------------------

    async def serve(self) -> None:
        """Be the server until it is told to stop, or killed."""
        core = self.core
        equipment = Equipment(
            self._open_provider,
            None,
            core.settings,
            virtual_now,
            core.shell,
            core.place.read_config,
            core.tools,
            Monitor(self._report),
        )
        with self._scope:
            async with (
                self._open_register() as register,
                open_workspace_host(
                    equipment, core.disks.open_store, core.place.env, register
                ) as self.host,
            ):
                async with trio.open_nursery() as self.handlers:
                    self.started.set()
                    await self.stopping.wait()
                    await self.host.wait_closed()
                    self.shut = True
                    now = trio.current_time()
                    self.handlers.cancel_scope.deadline = now + core.settings.drain_timeout

    def _report(self, violation: Violation, recent: Sequence[str]) -> None:
        """Take up what the monitor has found; a dead process breaks no promise any more."""
        if not self.dead:
            self.core.recent = list(recent)
            self.core.complain(f"the monitor saw {violation}")

    @asynccontextmanager
    async def _open_provider(self, _: Endpoint) -> AsyncGenerator[Provider]:
        yield self.core.model

    def stop(self) -> None:
        """Begin to stop, as a signal does. Not a checkpoint."""
        if not self.dead and not self.stopping.is_set():
            for run in self.runs:
                self._expect(run, must=False)
            self._remember()
            self.host.begin_closing()
            self.stopping.set()

    def kill(self) -> None:
        """Die: what is committed stays, everything else is gone. Not a checkpoint."""
        if not self.dead and not self.ended.is_set():
            self._remember()
            self.dead = True
            for disk in self.core.disks.all():
                disk.crash()
            self._scope.cancel("killed")

    def _open_register(self) -> AbstractAsyncContextManager[Register | None]:
        core = self.core
        if core.saved is None:
            return nullcontext()
        file = core.saved.file(lambda: self.dead)
        return open_register(file, core.settings, virtual_now, inline)

    def _remember(self) -> None:
        """Note which workspaces the next life must find by their ids, if it has ended none before."""
        if self.core.saved is not None and not self.stopping.is_set():
            self.core.remembered.update(workspace.id for workspace in self.host.workspaces)

    # --- requests ----------------------------------------------------------------------------

    def start(self, call: Call, work: Work) -> None:
        """Take a request. Not a checkpoint."""
        self.handlers.start_soon(self._handle, call, work, name=call.what)

    async def _handle(self, call: Call, work: Work) -> None:
        reply = LOST
        try:
            with call.scope:
                try:
                    await trio.lowlevel.checkpoint()  # a request is read before anything happens
                    reply = as_reply(await work(self))
                except CrushTrioError as error:
                    reply = Reply(error.status, error=error_text(error))
                except Exception as error:  # noqa: BLE001 -- as the server's boundary does
                    reply = Reply(500, error=error_text(error))
                    self.core.complain(f"{call.what}: {error!r}")
        finally:
            if not self.dead:
                call.end(reply)
            self.core.pulse()

    async def find(self, workspace_id: str) -> Workspace:
        """Return a workspace; one that was open before a restart must be known (5.8)."""
        try:
            workspace = await self.host.find(workspace_id)
        except WorkspaceNotFoundError:
            if workspace_id in self.core.remembered and not self.dead:
                self.core.complain("a workspace that was open before a restart is not known (5.8)")
            raise
        self.core.remembered.discard(workspace_id)
        return workspace

    async def listen(self, stream: Stream, wish: Wish | None) -> None:
        """Serve an event stream to its end."""
        workspace = await self.find(stream.client.workspace_id)
        with workspace.attach(ClientID(stream.client.name), wish) as subscription:
            stream.settled_before = frozenset(run.id for run in self.runs if run.settled)
            stream.attached, stream.workspace_id = True, workspace.id
            self.core.pulse()
            reader = None if wish is None else _Reader()
            try:
                while True:
                    events = await _receive(subscription, stream, reader)
                    if stream.paused:
                        await stream.resumed.wait()
                    if not self.dead:
                        stream.events.extend(events)
                    self.core.pulse()
            except trio.EndOfChannel:
                stream.ended = not self.dead

    # --- what happens to runs -------------------------------------------------------------------

    def note(self, accepted: Run | Ending) -> None:
        """Remember a run that was accepted. Not a checkpoint."""
        if isinstance(accepted, Run) and accepted not in self.runs:
            self.runs.append(accepted)
            if accepted.session_id in self.deleting:
                self._expect(accepted, must=False)
        self.core.pulse()

    async def answered(self, observer: Observer, accepted: Run | Ending, wanted_id: str) -> Ending:
        """Wait for a run's end as the handler of a POST does, and let an observer know."""
        post = object()
        run_id = accepted.id if isinstance(accepted, Run) else accepted.run_id
        observer.post_begun(post, accepted.session_id, run_id, wanted_id)
        try:
            if isinstance(accepted, Run):
                await accepted.finished.wait()
            ending = accepted.ending if isinstance(accepted, Run) else accepted
            observer.post_answered(post, *settled_answer(ending))
        finally:
            observer.post_left(post)
        return ending

    def unsettled(self) -> list[Run]:
        """Return the runs that have not settled."""
        return [run for run in self.runs if not run.settled]

    def active(self, session: str) -> Run | None:
        """Return the active run of a session."""
        for run in self.runs:
            if run.state is State.ACTIVE and run.session_id == session:
                return run
        return None

    def expect_cancelled(self, workspace: Workspace, session: str, *, must: bool) -> None:
        """Note that an end reaches what a session has not concluded. Not a checkpoint."""
        for run in self.runs:
            owner = run.owner
            assert isinstance(owner, Workspace)
            if run.session_id == session and owner.data is workspace.data:
                self._expect(run, must=must)

    def _expect(self, run: Run, *, must: bool) -> None:
        if not run.concluded:
            (self.must_be_cancelled if must else self.may_be_cancelled).add(run)

    def cancel(self, workspace: Workspace, session: str) -> Receipt:
        """Cancel a session. Not a checkpoint."""
        self.expect_cancelled(workspace, session, must=True)
        return workspace.cancel(SessionID(session))

    def clear(self, workspace: Workspace, session: str) -> Receipt:
        """Clear a session's queue. Not a checkpoint."""
        receipt = workspace.clear(SessionID(session))
        self.must_be_cancelled.update(receipt.runs)
        return receipt

    async def delete(self, workspace: Workspace, session: str) -> None:
        """Delete a session; runs that come while it waits are ended too."""
        self.core.deleted.add(session)
        self.deleting.add(session)
        try:
            self.expect_cancelled(workspace, session, must=False)
            await workspace.sessions.delete(SessionID(session))
        finally:
            self.deleting.discard(session)

    def release(self, client: Client) -> None:
        """Let a client go from its workspace. Not a checkpoint."""
        self._expect_goodbye(client)
        self.host.release(client.workspace_id, ClientID(client.name))

    def retire(self, client: Client) -> None:
        """Let a client go from everywhere. Not a checkpoint."""
        self._expect_goodbye(client)
        self.host.retire(ClientID(client.name))

    def _expect_goodbye(self, client: Client) -> None:
        self.core.remembered.discard(client.workspace_id)
        for run in self.runs:
            owner = run.owner
            assert isinstance(owner, Workspace)
            if owner.id == client.workspace_id:
                self._expect(run, must=False)

    def answer(self, workspace: Workspace, action: GrantAction, request_id: str = "") -> bool:
        """Answer a permission request, by default the open one. Not a checkpoint."""
        opened = workspace.permissions.open_requests()
        wanted = request_id or (opened[0].id if opened else "")
        decided = workspace.permissions.answer(wanted, action)
        if decided:
            if wanted in self.decided:
                self.core.complain(f"request {wanted} was decided twice")
            self.decided.append(wanted)
        return decided


async def _receive(
    subscription: Subscription, stream: Stream, reader: _Reader | None
) -> list[Event]:
    """Wait for what a stream is sent next; one with ids reads its bytes, as clients do (S5)."""
    if reader is None:
        return await subscription.receive()
    found: list[Event] = []
    for number, data in reader.frames.feed_numbered(await subscription.receive_chunk()):
        stream.last_id = stream.last_id if number is None else number
        if data and (event := reader.messages.take(data)) is not None:
            found.append(event)
    return found


@attrs.define(eq=False)
class _Reader:
    """What makes events of a stream's bytes, and whole messages of what is new in them."""

    frames: SSEReader = attrs.field(factory=SSEReader)
    messages: MessageAssembler = attrs.field(factory=MessageAssembler)
