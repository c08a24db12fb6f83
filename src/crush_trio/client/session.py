"""One session, from the client's side: its messages, its runs and its waiting prompts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from crush_trio.client.transport import Answer, Transport, segment
from crush_trio.ids import SessionID, new_id
from crush_trio.wire.events import File
from crush_trio.wire.files import NEVER, ReadFile
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.runs import (
    AgentMessage,
    AgentSession,
    Attachment,
    CancelReceipt,
    RunAccepted,
    RunResult,
    ShellRequest,
    ShellResult,
)
from crush_trio.wire.sessions import Session

WAIT = 24 * 3600
"""Seconds that one POST waits for a run, before it asks again with the same run id (R16)."""


class _Failure(msgspec.Struct, frozen=True):
    """The body of an error that names its run: the run has failed, the request has not."""

    message: str
    run_id: str
    session_id: str = ""
    message_id: str = ""


class SessionClient:
    """A session of a workspace. Use ``WorkspaceClient.session``; making one asks nothing."""

    def __init__(self, transport: Transport, workspace_path: str, session_id: SessionID) -> None:
        self.id = session_id
        self._transport = transport
        self._agent_path = f"{workspace_path}/agent"
        self._path = f"{workspace_path}/sessions/{segment(session_id)}"
        self._tracker_path = f"{workspace_path}/filetracker"
        self._runs_path = f"{workspace_path}/agent/sessions/{segment(session_id)}"

    def __repr__(self) -> str:
        return f"<SessionClient {self.id}>"

    # --- runs --------------------------------------------------------------------------

    async def prompt(
        self,
        text: str,
        *,
        run_id: str | None = None,
        attachments: Sequence[Attachment] = (),
        local_model: bool = False,
        interactive: bool | None = None,
        model: str = "",
    ) -> RunResult:
        """Send a prompt and wait until its run has settled, however long that takes.

        A failed run is a result with the outcome ``failed``. Being cancelled ends the wait and not
        the run (R2): use :meth:`cancel`. With a ``run_id`` the prompt never joins a running turn,
        and after a lost connection the same call gets the same run's result (R16). ``model`` is the
        one that answers this prompt and no other, as ``model`` or ``provider/model``.

        Raises:
            ResponseError: the prompt was not accepted.
            ServerUnavailableError: the server is gone, or went before it answered.
        """
        prefer = None if run_id is None else f"wait={WAIT}"
        message = AgentMessage(
            self.id, run_id or "", text, tuple(attachments), local_model, interactive, model
        )
        while True:
            answer = await self._post(message, prefer)
            if isinstance(answer, RunResult):
                return answer
            message = msgspec.structs.replace(message, run_id=answer.run_id)
            prefer = f"wait={WAIT}"

    async def submit(
        self,
        text: str,
        *,
        run_id: str | None = None,
        wait: int | None = None,
        attachments: Sequence[Attachment] = (),
        local_model: bool = False,
        interactive: bool | None = None,
        model: str = "",
    ) -> RunAccepted | RunResult:
        """Send a prompt and return as soon as it is accepted, or after ``wait`` seconds.

        The result comes instead if the run has settled by then, as one has that was asked for
        again (R16).

        Raises:
            ResponseError: the prompt was not accepted.
            ServerUnavailableError: the server is gone, or went before it answered.
        """
        prefer = "respond-async" if wait is None else f"wait={wait}"
        message = AgentMessage(
            self.id, run_id or new_id(), text, tuple(attachments), local_model, interactive, model
        )
        return await self._post(message, prefer)

    async def cancel(self, *, wait: int | None = None) -> CancelReceipt:
        """Cancel every run of the session that has not concluded; return which ones (R15).

        With ``wait`` the answer comes when all of them have settled, or after so many seconds.

        Raises:
            ResponseError: the server refused.
            ServerUnavailableError: the server is gone.
        """
        prefer = None if wait is None else f"wait={wait}"
        answer = await self._transport.call("POST", f"{self._runs_path}/cancel", prefer=prefer)
        return answer.decode(CancelReceipt) if answer.body else CancelReceipt((), settled=False)

    async def state(self) -> AgentSession:
        """Return whether the session is busy."""
        return (await self._transport.call("GET", self._runs_path)).decode(AgentSession)

    async def queued(self) -> int:
        """Return how many prompts wait."""
        return (await self._transport.call("GET", f"{self._runs_path}/prompts/queued")).decode(int)

    async def queue(self) -> list[str]:
        """Return the texts of the prompts that wait, the next one first."""
        answer = await self._transport.call("GET", f"{self._runs_path}/prompts/list")
        return answer.decode_list(str)

    async def clear_queue(self) -> None:
        """Drop the prompts that wait; each of them settles as cancelled."""
        await self._transport.call("POST", f"{self._runs_path}/prompts/clear")

    async def summarize(self) -> None:
        """Let a summary stand for the conversation so far; return when there is one (R-44).

        Being cancelled ends the wait and not the summary; :meth:`cancel` ends it, and this returns.

        Raises:
            ResponseError: the session is busy, or the model failed.
            ServerUnavailableError: the server is gone.
        """
        await self._transport.call("POST", f"{self._runs_path}/summarize")

    async def shell(self, command: str) -> ShellResult:
        """Run a user's command in the workspace's directory, to its end.

        What it wrote becomes part of the conversation. Being cancelled kills it.
        """
        body = ShellRequest(self.id, command)
        answer = await self._transport.call("POST", f"{self._runs_path}/shell", body=body)
        return answer.decode(ShellResult)

    # --- what is stored ------------------------------------------------------------------

    async def get(self) -> Session:
        """Return the session."""
        return (await self._transport.call("GET", self._path)).decode(Session)

    async def save(self, session: Session) -> Session:
        """Store a session's title, todos and cost; return what is stored."""
        return (await self._transport.call("PUT", self._path, body=session)).decode(Session)

    async def rename(self, title: str) -> Session:
        """Give the session another title."""
        return await self.save(msgspec.structs.replace(await self.get(), title=title))

    async def delete(self) -> None:
        """Cancel the session's runs and delete it with its messages."""
        await self._transport.call("DELETE", self._path)

    async def messages(self) -> list[WireMessage]:
        """Return all messages, oldest first."""
        answer = await self._transport.call("GET", f"{self._path}/messages")
        return answer.decode_list(WireMessage)

    async def user_messages(self) -> list[WireMessage]:
        """Return what users said, newest first."""
        answer = await self._transport.call("GET", f"{self._path}/messages/user")
        return answer.decode_list(WireMessage)

    # --- files ----------------------------------------------------------------------------

    async def history(self) -> list[File]:
        """Return every version of the files that tools changed, the lowest version first."""
        answer = await self._transport.call("GET", f"{self._path}/history")
        return answer.decode_list(File)

    async def read_files(self) -> list[str]:
        """Return the paths of the files that were read, the latest first."""
        answer = await self._transport.call("GET", f"{self._path}/filetracker/files")
        return answer.decode_list(str)

    async def record_read(self, path: str) -> None:
        """Say that the session knows a file as it is now, by its absolute path."""
        body = ReadFile(self.id, path)
        await self._transport.call("POST", f"{self._tracker_path}/read", body=body)

    async def last_read(self, path: str) -> datetime | None:
        """Return when the session last read a file, or None if it never did."""
        query = {"session_id": self.id, "path": path}
        answer = await self._transport.call("GET", f"{self._tracker_path}/lastread", query=query)
        moment = answer.decode(datetime)
        return None if moment == datetime.fromisoformat(NEVER) else moment

    async def _post(self, message: AgentMessage, prefer: str | None) -> RunAccepted | RunResult:
        answer = await self._transport.request(
            "POST", self._agent_path, body=message, prefer=prefer
        )
        if answer.status == 200:
            return answer.decode(RunResult)
        if answer.status == 202:
            accepted = RunAccepted(message.run_id, message.session_id)
            return answer.decode(RunAccepted) if answer.body else accepted
        if (failed := _failed(answer)) is not None:
            return failed
        raise answer.error()


def _failed(answer: Answer) -> RunResult | None:
    """Return the result of a failed run, or None if it is the request that failed."""
    try:
        body = msgspec.json.decode(answer.body, type=_Failure)
    except msgspec.DecodeError:
        return None
    return RunResult(
        run_id=body.run_id,
        session_id=body.session_id,
        outcome="failed",
        cancelled=False,
        message_id=body.message_id,
        text="",
        error=body.message,
    )
