"""What a run asks, permissions and questions, and who answers: a terminal, ``--yolo``, or nobody."""

from __future__ import annotations

import trio

from crush_trio.cli.output import Output
from crush_trio.cli.terminal import Terminal, describe
from crush_trio.client import WorkspaceClient
from crush_trio.errors import ResponseError, ServerUnavailableError
from crush_trio.wire.permissions import GrantAction, PermissionRequest
from crush_trio.wire.questions import QuestionRequest, QuestionResponse


class Answerer:
    """Answers a run's requests and questions, each in a task of its own, so that events go on.

    Args:
        nursery: Where those tasks live.
        terminal: Whom to ask; None if nobody is there.
        allow_all: Grant everything, without switching the whole workspace.
    """

    def __init__(
        self,
        workspace: WorkspaceClient,
        nursery: trio.Nursery,
        output: Output,
        *,
        terminal: Terminal | None,
        allow_all: bool,
    ) -> None:
        self._workspace = workspace
        self._nursery = nursery
        self._output = output
        self._terminal = terminal
        self._allow_all = allow_all
        self._open: dict[str, tuple[str, trio.CancelScope]] = {}
        self._questions: dict[str, trio.CancelScope] = {}

    def __repr__(self) -> str:
        return f"<Answerer {len(self._open)} open>"

    def take(self, request: PermissionRequest) -> None:
        """Begin to answer a request, if that has not begun. Not a checkpoint."""
        if request.id not in self._open:
            scope = trio.CancelScope()
            self._open[request.id] = (request.tool_call_id, scope)
            self._nursery.start_soon(self._answer, request, scope)

    def decided(self, tool_call_id: str) -> None:
        """Stop asking: a tool call's request has been answered or withdrawn. Not a checkpoint."""
        for asked, scope in self._open.values():
            if asked == tool_call_id:
                scope.cancel("decided")

    def take_questions(self, batch: QuestionRequest) -> None:
        """Begin to answer questions, if that has not begun. Not a checkpoint."""
        if batch.id not in self._questions:
            scope = self._questions[batch.id] = trio.CancelScope()
            self._nursery.start_soon(self._answer_questions, batch, scope)

    def questions_decided(self, batch_id: str) -> None:
        """Stop asking: the questions have been answered, refused or withdrawn. Not a checkpoint."""
        if (scope := self._questions.get(batch_id)) is not None:
            scope.cancel("decided")

    async def _answer_questions(self, batch: QuestionRequest, scope: trio.CancelScope) -> None:
        responses: list[QuestionResponse] | None = None
        is_answered = False
        try:
            with scope:
                if self._terminal is not None:
                    responses = await self._terminal.answer(batch)
                is_answered = True
        finally:
            del self._questions[batch.id]
        if not is_answered:
            self._output.note("decided elsewhere")
            return
        try:
            if responses is None:
                self._output.note("the questions are not answered")
                await self._workspace.refuse_questions()
            else:
                await self._workspace.answer_questions(batch, responses)
        except (ResponseError, ServerUnavailableError) as error:
            self._output.note(f"the answer did not reach the server: {error}")

    async def _answer(self, request: PermissionRequest, scope: trio.CancelScope) -> None:
        action: GrantAction | None = None
        try:
            with scope:
                action = await self._choose(request)
        finally:
            del self._open[request.id]  # from here on our own answer's notification is no news
        if action is not None:
            await self._send(request, action)
        else:
            self._output.note("decided elsewhere")

    async def _choose(self, request: PermissionRequest) -> GrantAction:
        if self._allow_all:
            return "allow"
        if self._terminal is not None:
            return await self._terminal.ask(request)
        self._output.note(
            f"denied: {describe(request)}; nobody is at a terminal to be asked, --yolo grants everything"
        )
        return "deny"

    async def _send(self, request: PermissionRequest, action: GrantAction) -> None:
        """Tell the server. If it cannot be reached now, it asks again on the next stream (D2)."""
        try:
            await self._workspace.grant(request, action)
        except (ResponseError, ServerUnavailableError) as error:
            self._output.note(f"the answer did not reach the server: {error}")
