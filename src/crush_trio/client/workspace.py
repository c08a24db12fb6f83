"""One workspace, from the client's side."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from crush_trio.client.events import EventStream
from crush_trio.client.lasting import RETURN_TIMEOUT, LastingEvents
from crush_trio.client.lsp import LSPClient
from crush_trio.client.mcp import MCPClient
from crush_trio.client.project import ProjectClient
from crush_trio.client.session import SessionClient
from crush_trio.client.settings import SettingsClient
from crush_trio.client.transport import Transport, segment
from crush_trio.ids import ClientID, SessionID
from crush_trio.wire.config import Config, SelectedModel
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import (
    GrantAction,
    PermissionGrant,
    PermissionRequest,
    Resolved,
    Skip,
)
from crush_trio.wire.questions import QuestionAnswer, QuestionRequest, QuestionResponse
from crush_trio.wire.runs import AgentInfo, AgentInit
from crush_trio.wire.sessions import CurrentSession, Session
from crush_trio.wire.workspaces import Workspace


class WorkspaceClient:
    """An open workspace. Use ``Client.open_workspace``.

    Every method raises :class:`~crush_trio.errors.ResponseError` when the server refuses, with
    status 404 once the workspace is gone, and
    :class:`~crush_trio.errors.ServerUnavailableError` when it does not answer.

    Attributes:
        info: The workspace as it was when it was opened; :meth:`get` has the present state.
        settings: What can be changed of its configuration.
        project: What there is to know of the project, and its skills.
        lsp: Its language servers.
        mcp: Its MCP servers.
    """

    def __init__(self, transport: Transport, client_id: ClientID, info: Workspace) -> None:
        self.info = info
        self._transport = transport
        self._client = {"client_id": client_id}
        self._path = f"/workspaces/{segment(info.id)}"
        self.settings = SettingsClient(transport, self._path)
        self.project = ProjectClient(transport, self._path)
        self.lsp = LSPClient(transport, self._path)
        self.mcp = MCPClient(transport, self._path)

    def __repr__(self) -> str:
        return f"<WorkspaceClient {self.info.id} {self.info.path}>"

    @property
    def id(self) -> str:
        """The workspace's id."""
        return self.info.id

    async def get(self) -> Workspace:
        """Return the workspace with its present configuration."""
        return (await self._transport.call("GET", self._path)).decode(Workspace)

    async def config(self) -> Config:
        """Return the present configuration."""
        return (await self._transport.call("GET", f"{self._path}/config")).decode(Config)

    async def release(self) -> None:
        """Give up this client's claim, as the last client's goodbye if it is the last (W2)."""
        await self._transport.call("DELETE", self._path, query=self._client)

    @asynccontextmanager
    async def events(
        self, *, after: int | None = None, deltas: bool = True
    ) -> AsyncGenerator[EventStream]:
        """Subscribe; the block is entered once nothing can be missed any more (S1).

        While the block lasts it keeps the workspace open. Synopsis::

            async with workspace.events() as events:
                async for event in events:
                    ...

        Args:
            after: Go on behind the event with this id: an earlier stream's ``last_id``. What was
                missed comes behind the ``hello``, or a ``too_old`` that says: read the state again
                (S5).
            deltas: Let the server send what is new in a message; what the stream yields is whole
                all the same. Without it and ``after`` there are no ids and no ``hello``.
        """
        query = self._client | ({"deltas": "1"} if deltas else {})
        if after is not None:
            query["after"] = str(after)
        async with self._transport.stream(f"{self._path}/events", query) as chunks:
            yield EventStream(chunks, after)

    @asynccontextmanager
    async def lasting_events(
        self, *, patience: float = RETURN_TIMEOUT
    ) -> AsyncGenerator[LastingEvents]:
        """Subscribe as :meth:`events`, and come back by itself when the connection is lost (S5).

        Args:
            patience: Seconds that a lost server has to come back.
        """
        async with AsyncExitStack() as stack:
            events = LastingEvents(lambda after: self.events(after=after), stack, patience)
            await events.connect()
            yield events

    async def select_session(self, session_id: str) -> None:
        """Tell the server which session this client shows; empty for none. Needs an open stream."""
        body = CurrentSession(session_id)
        await self._transport.call(
            "POST", f"{self._path}/current-session", body=body, query=self._client
        )

    # --- sessions ------------------------------------------------------------------------

    def session(self, session_id: str) -> SessionClient:
        """Return a client for one session. Asks nothing."""
        return SessionClient(self._transport, self._path, SessionID(session_id))

    async def sessions(self) -> list[Session]:
        """Return the sessions without their children, the last used first."""
        answer = await self._transport.call("GET", f"{self._path}/sessions")
        return answer.decode_list(Session)

    async def create_session(self, title: str) -> SessionClient:
        """Create a session and return a client for it."""
        answer = await self._transport.call(
            "POST", f"{self._path}/sessions", body=Session(title=title)
        )
        return self.session(answer.decode(Session).id)

    async def user_messages(self) -> list[WireMessage]:
        """Return what users said in all sessions, newest first."""
        answer = await self._transport.call("GET", f"{self._path}/messages/user")
        return answer.decode_list(WireMessage)

    # --- the agent -----------------------------------------------------------------------

    async def agent(self) -> AgentInfo:
        """Return the agent's state and model; ``is_ready`` is false where no model is set up."""
        return (await self._transport.call("GET", f"{self._path}/agent")).decode(AgentInfo)

    async def init_agent(self, *, interactive: bool) -> None:
        """Build the agent anew. Runs in flight keep theirs."""
        body = AgentInit(interactive)
        await self._transport.call("POST", f"{self._path}/agent/init", body=body)

    async def default_small_model(self, provider_id: str = "") -> SelectedModel:
        """Return the small model that goes with a provider, or the large one that is selected."""
        query = {"provider_id": provider_id}
        answer = await self._transport.call(
            "GET", f"{self._path}/agent/default-small-model", query=query
        )
        return answer.decode(SelectedModel)

    async def update_agent(self) -> None:
        """Let the agent read the configuration again. Runs in flight keep theirs."""
        await self._transport.call("POST", f"{self._path}/agent/update")

    # --- permissions -----------------------------------------------------------------------

    async def grant(self, request: PermissionRequest, action: GrantAction) -> bool:
        """Answer a permission request; return whether this answer counted (D1)."""
        body = PermissionGrant(request, action)
        answer = await self._transport.call("POST", f"{self._path}/permissions/grant", body=body)
        return answer.decode(Resolved).resolved

    async def skips_permissions(self) -> bool:
        """Return whether the workspace grants everything unasked."""
        answer = await self._transport.call("GET", f"{self._path}/permissions/skip")
        return answer.decode(Skip).skip

    async def skip_permissions(self, *, skip: bool) -> None:
        """Let the workspace grant everything unasked from now on, for everybody, or no more."""
        await self._transport.call("POST", f"{self._path}/permissions/skip", body=Skip(skip))

    # --- questions -------------------------------------------------------------------------

    async def answer_questions(
        self, request: QuestionRequest, responses: Sequence[QuestionResponse]
    ) -> bool:
        """Answer a batch of questions; return whether this answer counted (D1)."""
        body = QuestionAnswer(request.id, tuple(responses))
        answer = await self._transport.call("POST", f"{self._path}/questions/answer", body=body)
        return answer.decode(Resolved).resolved

    async def refuse_questions(self) -> bool:
        """Refuse to answer the open batch, which ends its turn; return whether this call decided it."""
        answer = await self._transport.call("POST", f"{self._path}/questions/cancel")
        return answer.decode(Resolved).resolved
