"""Stay with a run until it has settled, whatever happens to the connection.

The event stream is opened before the prompt is sent, so that nothing is missed (S1). If the stream
ends early, another one goes on where it ended (S5). Only where that is not possible, or where it is
not known whether the prompt arrived, the state is read again. The prompt is posted again, with its
run id (R16), only while the store does not have it: after a restart the server knows run ids no
more, and a prompt that had begun must not begin twice.
"""

from __future__ import annotations

import math

import trio

from crush_trio.cli.answering import Answerer
from crush_trio.cli.following import Follower
from crush_trio.cli.output import Output
from crush_trio.client import EventStream, SessionClient, WorkspaceClient
from crush_trio.client.lasting import RETRY_PAUSE, RETURN_TIMEOUT
from crush_trio.errors import ResponseError, ServerUnavailableError
from crush_trio.ids import new_id
from crush_trio.wire.events import PermissionNotification, QuestionNotification, RunComplete
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import QuestionRequest
from crush_trio.wire.runs import RunResult
from crush_trio.wire.streams import TooOld


class RunJoin:
    """One run and the connection to it."""

    def __init__(
        self,
        workspace: WorkspaceClient,
        session: SessionClient,
        prompt: str,
        output: Output,
        answerer: Answerer,
        known: frozenset[str] | None,
        model: str = "",
    ) -> None:
        self._workspace = workspace
        self._session = session
        self._prompt = prompt
        self._model = model
        self._output = output
        self._answerer = answerer
        self._run_id = new_id()
        self._follower = Follower(session.id, self._run_id, prompt, output, known)
        self._sent = False
        self._accepted = trio.Event()
        self._last_id: int | None = None
        self._interactive = False

    def __repr__(self) -> str:
        return f"<RunJoin {self._run_id} sent={self._sent}>"

    async def follow(self, *, interactive: bool) -> RunResult:
        """Send the prompt and wait until its run has settled.

        Raises:
            ResponseError: the prompt was not accepted.
            ServerUnavailableError: the server is gone and did not come back in time.
        """
        self._interactive = interactive
        deadline = math.inf
        while True:
            try:
                async with self._workspace.events(after=self._last_id) as events:
                    deadline = math.inf
                    result = await self._attach(events)
            except ServerUnavailableError:
                if not self._sent or trio.current_time() > deadline:
                    raise
            except ResponseError as error:
                raise self._explained(error) from error
            else:
                if result is not None:
                    return result
            deadline = min(deadline, trio.current_time() + RETURN_TIMEOUT)
            await trio.sleep(RETRY_PAUSE)

    async def cancel(self) -> None:
        """Cancel the session's runs, as soon as ours is one of them: a cancel reaches no further (R6).

        Raises:
            ResponseError: the server refused.
            ServerUnavailableError: the server is gone.
        """
        await self._accepted.wait()
        await self._session.cancel()

    def _explained(self, error: ResponseError) -> ResponseError:
        if error.status != 404 or not self._sent:
            return error
        return ResponseError(
            404,
            "the server has closed the workspace, and the run with it; "
            f"what there was is in session {self._session.id}",
        )

    async def _attach(self, events: EventStream) -> RunResult | None:
        """Follow the run on one stream; return None if the stream ends before the run."""
        gapless = self._accepted.is_set() and self._last_id is not None
        missed = self._sent and not gapless
        result: RunResult | None = None
        if missed:
            result = await self._catch_up()
        elif not self._sent:
            result = await self._submit()
        while result is None:
            await self._output.flush()
            try:
                event = await anext(events)
            except StopAsyncIteration:
                return None
            self._take_requests(event.payload)
            result = self._follower.take(event)
            self._last_id = events.last_id
            missed = missed or isinstance(event.payload, TooOld)
            if result is None and missed and self._may_be_over(event.payload):
                result = await self._catch_up()
        return result

    def _may_be_over(self, payload: object) -> bool:
        """Whether our run may have ended unseen: events were missed, or another run has ended."""
        is_end = isinstance(payload, RunComplete) and payload.session_id == self._session.id
        return is_end or isinstance(payload, TooOld)

    def _take_requests(self, payload: object) -> None:
        match payload:
            case PermissionRequest() if self._follower.asks(payload.session_id):
                self._answerer.take(payload)
            case PermissionNotification(tool_call_id, granted, denied) if granted or denied:
                self._answerer.decided(tool_call_id)
            case QuestionRequest() if self._follower.asks(payload.session_id):
                self._answerer.take_questions(payload)
            case QuestionNotification(batch_id):
                self._answerer.questions_decided(batch_id)
            case _:
                pass

    async def _submit(self) -> RunResult | None:
        """Send the prompt, or join its run; return the result if it has settled already."""
        self._sent = True
        answer = await self._session.submit(
            self._prompt,
            run_id=self._run_id,
            local_model=True,
            interactive=self._interactive,
            model=self._model,
        )
        self._accepted.set()
        if not isinstance(answer, RunResult):
            return None
        self._output.show(answer.message_id, answer.text, final=True)
        return answer

    async def _catch_up(self) -> RunResult | None:
        """Print what was missed; return the result if the run has settled meanwhile."""
        # In this order: what is stored of an idle session is complete.
        idle = not (await self._session.state()).is_busy
        mine = self._follower.take_stored(await self._session.messages())
        if not mine:
            return await self._submit()
        self._accepted.set()
        return self._follower.stored_result(mine) if idle else None
