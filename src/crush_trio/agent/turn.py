"""One turn: a prompt in, steps of a model and its tools, and an end that is always stored.

Above it is the lane, which owns the run and decides its outcome; below it the draft, the tools and
the provider. :meth:`AgentTurn.play` goes up to the last step without its finish part: by then the
outcome may still become *cancelled*. :meth:`AgentTurn.finish` writes the end that the outcome
asks for, so that what is stored is well formed whatever happened (R9, R10).
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from typing import Protocol

import attrs
import trio

from crush_trio.agent.calls import run_calls, tool_result
from crush_trio.agent.collect import Collected, collect
from crush_trio.agent.draft import Draft
from crush_trio.agent.gear import Gear, Workbench
from crush_trio.agent.histories import History
from crush_trio.agent.history import model_messages
from crush_trio.agent.limits import LoopDetector
from crush_trio.agent.summary import Summary, continuation, is_nearly_full
from crush_trio.agent.usage import cost
from crush_trio.errors import CrushTrioError, ProviderError, SessionNotFoundError, error_text
from crush_trio.ids import MessageID, RunID, SessionID, new_id
from crush_trio.messages import (
    STOP,
    BinaryPart,
    FinishReason,
    Message,
    Part,
    Prompt,
    Role,
    Text,
    TextPart,
    ToolCall,
    ToolResult,
    ToolResultPart,
    encodable,
)
from crush_trio.providers.base import ModelRequest
from crush_trio.store import Job
from crush_trio.tools.base import Surroundings, ToolAnswer, ToolContext
from crush_trio.wire.events import AgentEvent, Event
from crush_trio.wire.runs import Outcome
from crush_trio.wire.sessions import Session

logger = logging.getLogger(__name__)

CANCELLED_RESULT = "Error: user cancelled assistant tool calling"
"""Result of a call that a cancel left without one; clients recognise it (agent contract 1.17)."""

FAILED_RESULT = "There was an error while executing the tool"
"""Result of a call that a failure left without one (agent contract 1.17)."""


class RunRecord(Protocol):
    """What a turn reads of its run, and what it notes there."""

    id: RunID
    prompt: Prompt
    outcome: Outcome | None
    error: Exception | None
    message_id: str
    text: str


@attrs.define(eq=False)
class AgentTurn:
    """The turn of one run. Implements the lane's ``Turn``."""

    session_id: SessionID
    bench: Workbench
    _session: Session | None = attrs.field(default=None, init=False)
    _history: History | None = attrs.field(default=None, init=False)
    _around: Surroundings = attrs.field(init=False)
    _said: bool = attrs.field(default=False, init=False)
    _draft: Draft | None = attrs.field(default=None, init=False)
    _gear: Gear | None = attrs.field(default=None, init=False)
    _summary: Summary | None = attrs.field(default=None, init=False)
    _collected: Collected = attrs.field(factory=Collected, init=False)
    _reason: FinishReason = attrs.field(default="unknown", init=False)
    _results: dict[str, ToolResult] = attrs.field(factory=dict[str, ToolResult], init=False)
    _result_jobs: dict[str, Job[None]] = attrs.field(factory=dict[str, Job[None]], init=False)
    _jobs: list[Job[None]] = attrs.field(factory=list[Job[None]], init=False)

    # --- the lane's side ---------------------------------------------------------------

    async def play(self, run: RunRecord) -> None:
        """Answer the prompt, step by step, up to but without the last finish part.

        Raises:
            SessionNotFoundError: the session does not exist; nothing is stored.
            CrushTrioError: whatever fails the run.
        """
        history = await self._open_session()
        titled = any(message.role == "user" and message.text for message in history.messages)
        self._say(run.prompt, history)
        gear = self._gear = await self.bench.equip(run.prompt)
        if not titled and run.prompt.text and self._session is not None:
            self.bench.start_title(self._session, run.prompt, gear)
        self._around = self.bench.surroundings()
        permissions = self._around.permissions
        with ExitStack() as stack:
            if gear.unattended is not None:
                stack.enter_context(permissions.unattended(self.session_id, gear.unattended))
            await self._play_steps(run, gear, history)

    async def _play_steps(self, run: RunRecord, gear: Gear, history: History) -> None:
        loops = LoopDetector()
        goes_on = True
        while goes_on:
            goes_on = await self._step(run, gear, history)
            if goes_on and loops.looping((call, self._results[call.id]) for call in self._calls):
                self._reason = "tool_use"
                return
            is_full = gear.auto_summarize and self._is_nearly_full(gear)
            if goes_on or is_full:
                await self._close_step(history)
            if is_full:
                await self._summarise(gear, history, needed=goes_on)
                if goes_on:
                    self._say(Prompt(continuation(run.prompt.text)), history)

    async def finish(self, run: RunRecord) -> None:
        """Store how the turn ended, whatever it had come to. Called shielded, with a bound.

        Raises:
            StoreError: the end could not be stored (C2).
        """
        history = self._history or await self._open_session_if_there()
        if history is None:
            return
        if not self._said:
            self._say(run.prompt, history)
        draft = self._draft or self._begin_draft(run, history)
        draft.close_parts()
        self._end_summary()
        usage: Job[Session] | None = None
        last: Job[None] | None = None
        if run.outcome == "completed":
            if not draft.finished:  # one that a summary follows has been closed before it
                usage = self._post_usage()
                last = draft.finish(self._reason)
        else:
            self._answer_open_calls(draft, history, cancelled=run.outcome == "cancelled")
            last = _finish_early(draft, run)
        run.text = draft.text
        history.replace(draft.message)
        is_stored = False
        try:
            if last is not None:
                await last.wait()  # first: whatever else failed, no message comes after this (R8)
            if self._jobs:
                await self._wait_stored()
            if usage is not None:
                self._session = usage.result()  # not awaited: the run's end goes out with this one
            is_stored = True
        except CrushTrioError as error:
            await self._finish_again(draft, run, history, error)
            raise
        finally:
            if not is_stored:  # then what is kept is not what is there
                self.bench.histories.drop(self.session_id)

    async def _finish_again(
        self, draft: Draft, run: RunRecord, history: History, error: CrushTrioError
    ) -> None:
        """Try once more to leave a well-formed end: a disk may have failed for a moment only (R9).

        The run has failed all the same (C2). What cannot be stored now is settled when the store is
        opened next.
        """
        cancelled = run.outcome == "cancelled"
        for call_id, stored in self._result_jobs.items():
            if stored.failed:
                self._results.pop(call_id, None)
        self._answer_open_calls(draft, history, cancelled=cancelled)
        if cancelled:
            last = _finish_early(draft, run)
        else:
            last = draft.finish("error", "Storage Error", error_text(error))
        with suppress(CrushTrioError):
            await last.wait()

    def farewell(self, run: RunRecord) -> list[Event]:
        """Return the event that tells of a normal end or of a failure; a cancel has none. Sync."""
        match run.outcome:
            case "completed":
                title = "" if self._session is None else self._session.title
                told = AgentEvent(
                    type="agent_finished", session_id=self.session_id, session_title=title
                )
            case "failed":
                text = "" if run.error is None else error_text(run.error)
                told = AgentEvent(
                    type="error", error=text, run_id=run.id, session_id=self.session_id
                )
            case _:
                return []
        return [Event("agent_event", "created", told)]

    async def flush(self) -> None:
        """Store and publish the text so far. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        if self._summary is not None:
            await self._summary.draft.flush()
        elif self._draft is not None:
            await self._draft.flush()

    # --- the prompt -----------------------------------------------------------------------

    async def _open_session(self) -> History:
        history = await self._open_session_if_there()
        if history is None:
            raise SessionNotFoundError
        return history

    async def _open_session_if_there(self) -> History | None:
        found = await self.bench.histories.load(self.session_id)
        if found is not None:
            self._session, self._history = found
        return self._history

    def _say(self, prompt: Prompt, history: History) -> None:
        """Store a user message. Not a checkpoint; :meth:`_wait_stored` tells whether it worked."""
        self._said = True
        parts = (TextPart(Text(prompt.text)), *map(BinaryPart, prompt.attachments), STOP)
        self._add(history, self._message("user", parts))

    def _add(self, history: History, message: Message) -> Job[None]:
        job = self.bench.store.create_message(message)
        history.append(message)
        self._jobs.append(job)
        return job

    def _message(self, role: Role, parts: tuple[Part, ...]) -> Message:
        now = int(self.bench.now())
        return Message(
            MessageID(new_id()), self.session_id, role, parts, created_at=now, updated_at=now
        )

    async def _wait_stored(self) -> None:
        """Wait for the messages that were added. Always a checkpoint.

        Raises:
            CrushTrioError: one of them could not be stored; whoever waits later is told as well.
        """
        await trio.lowlevel.checkpoint()
        while self._jobs:
            await self._jobs[0].wait()
            del self._jobs[0]

    # --- one step --------------------------------------------------------------------------

    async def _step(self, run: RunRecord, gear: Gear, history: History) -> bool:
        """Play one step; return whether another one follows."""
        for prompt in self.bench.fold(self.session_id):
            self._say(prompt, history)
            if prompt.interactive is not False:
                self._around.permissions.attend(self.session_id)
        draft = self._begin_draft(run, history)
        await self._wait_stored()
        await draft.wait_stored()
        self._collected = Collected()
        request = self._request(gear, history)
        end = await collect(gear.provider, request, draft, self._collected)
        run.text = draft.text
        self._reason = end.reason
        if not draft.calls:
            return False
        history.replace(draft.message)
        self._reason = "tool_use"
        if await self._run_tools(gear, draft, history):
            self._reason = "end_turn"
            return False
        return True

    def _begin_draft(self, run: RunRecord, history: History) -> Draft:
        """Create this step's assistant message. Not a checkpoint."""
        now = int(self.bench.now())
        model, provider = self.bench.model_names(run.prompt)
        if self._gear is not None:
            selected = self._gear.chosen.selected
            model, provider = selected.model, selected.provider
        message = Message(
            MessageID(new_id()),
            self.session_id,
            "assistant",
            model=model,
            provider=provider,
            created_at=now,
            updated_at=now,
        )
        history.append(message)
        self._results.clear()
        self._result_jobs.clear()
        bench = self.bench
        self._draft = Draft(bench.store, message, bench.settings, bench.now)
        run.message_id, run.text = message.id, ""
        return self._draft

    def _request(self, gear: Gear, history: History) -> ModelRequest:
        session = self._session
        conversation = model_messages(
            history.messages,
            history.memo,
            summary_id="" if session is None else session.summary_message_id,
            images=gear.chosen.model.supports_attachments,
            inside=gear.pictures_inside,
        )
        return ModelRequest(
            model=gear.model_id,
            messages=[*gear.system, *conversation],
            tools=gear.specs,
            options=gear.options,
            session_key=self.session_id,
        )

    # --- tools --------------------------------------------------------------------------------

    @property
    def _calls(self) -> tuple[ToolCall, ...]:
        return () if self._draft is None else self._draft.calls

    async def _run_tools(self, gear: Gear, draft: Draft, history: History) -> bool:
        """Run the step's calls, each result stored as it comes; return whether to stop the turn."""
        await draft.wait_stored()  # a call is seen before its result (S4)

        def context(call: ToolCall) -> ToolContext:
            return ToolContext(
                self.session_id,
                MessageID(draft.id),
                call.id,
                self._around,
                supports_images=gear.chosen.model.supports_attachments,
                model_name=gear.chosen.model.name,
            )

        async def answered(call: ToolCall, answer: ToolAnswer) -> None:
            stored = self._add_result(history, tool_result(call, answer))
            try:
                await stored.wait()
            except CrushTrioError:
                del self._results[call.id]  # the end of the turn writes another one (R9)
                raise

        return await run_calls(
            draft.calls, frozenset(self._collected.broken), gear.tools, context, answered
        )

    def _add_result(self, history: History, result: ToolResult) -> Job[None]:
        self._results[result.tool_call_id] = result
        job = self._add(history, self._message("tool", (ToolResultPart(result), STOP)))
        self._result_jobs[result.tool_call_id] = job
        return job

    def _answer_open_calls(self, draft: Draft, history: History, *, cancelled: bool) -> None:
        """Give every call without a result one, in the calls' order (R9). Not a checkpoint."""
        text = CANCELLED_RESULT if cancelled else FAILED_RESULT
        for call in draft.calls:
            if call.id not in self._results:
                self._add_result(history, ToolResult(call.id, call.name, text, is_error=True))

    # --- the end of a step -------------------------------------------------------------------------

    async def _close_step(self, history: History) -> None:
        """Store a step that something follows in this turn: usage first, then its finish part."""
        assert self._draft is not None
        usage = self._post_usage()
        self._draft.finish(self._reason)
        history.replace(self._draft.message)
        await self._draft.wait_stored()
        self._session = await usage.wait()

    def _post_usage(self) -> Job[Session]:
        """Post the step's usage. Not a checkpoint."""
        gear, usage = self._gear, self._collected.usage
        assert gear is not None
        return self.bench.store.add_usage(
            self.session_id,
            prompt_tokens=usage.input + usage.cache_read,
            completion_tokens=usage.output,
            cost=cost(usage, gear.chosen.model, flat_rate=gear.flat_rate),
        )

    # --- a full window ---------------------------------------------------------------------------

    def _is_nearly_full(self, gear: Gear) -> bool:
        """Whether the conversation leaves the model too little room (agent contract 1.15)."""
        session, usage = self._session, self._collected.usage
        assert session is not None
        prompt = usage.input + usage.cache_read or session.prompt_tokens
        completion = usage.output or session.completion_tokens
        return is_nearly_full(gear.chosen.model.context_window, prompt + completion)

    async def _summarise(self, gear: Gear, history: History, *, needed: bool) -> None:
        """Let a summary stand for the conversation from now on.

        Args:
            gear: The model that writes it.
            history: The conversation; its last step is closed.
            needed: Whether the turn cannot go on without it. If it can, a failure is only told in the
                summary's own message.

        Raises:
            CrushTrioError: the summary failed, and the turn cannot go on without it.
        """
        assert self._session is not None
        summary = self._summary = Summary(self.bench, gear, self._session, history)
        failure: BaseExceptionGroup[CrushTrioError] | None = None
        try:
            await summary.write()
        except* CrushTrioError as errors:
            failure = errors
        if failure is None:
            await summary.close()
            self._summary = None
            self._session = await summary.use().wait()
            return
        self._summary = None
        await summary.fail(failure).wait()
        logger.warning("session %s could not be summarised: %s", self.session_id, failure)
        if needed:
            raise failure

    def _end_summary(self) -> None:
        """Take out a summary that was being written when the turn ended early. Not a checkpoint."""
        if self._summary is not None:
            self._jobs.append(self._summary.discard())


def _finish_early(draft: Draft, run: RunRecord) -> Job[None]:
    """Write the finish part of a turn that was cancelled or failed (agent contract 1.17)."""
    if run.outcome == "cancelled":
        return draft.finish("canceled", "User canceled request")
    if isinstance(run.error, ProviderError):
        return draft.finish("error", run.error.title, encodable(str(run.error)))
    details = "" if run.error is None else error_text(run.error)
    return draft.finish("error", "Provider Error", details)
