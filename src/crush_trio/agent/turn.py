"""One turn: a prompt in, steps of a model and its tools, and an end that is always stored.

Above it is the lane, which owns the run and decides its outcome; below it the conversation and the
steps. :meth:`AgentTurn.play` goes up to the last step without its finish part: by then the
outcome may still become *cancelled*. :meth:`AgentTurn.finish` writes the end that the outcome
asks for, so that what is stored is well formed whatever happened (R9, R10).
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress
from typing import Protocol

import attrs
import trio

from crush_trio.agent.conversation import Conversation
from crush_trio.agent.gear import Gear, Workbench
from crush_trio.agent.limits import LoopDetector
from crush_trio.agent.step import Step
from crush_trio.agent.summary import Summary, continuation, is_nearly_full
from crush_trio.errors import CrushTrioError, ProviderError, SessionNotFoundError, error_text
from crush_trio.ids import RunID, SessionID
from crush_trio.messages import Prompt, encodable
from crush_trio.store import Job
from crush_trio.tools.base import Surroundings
from crush_trio.wire.events import AgentEvent, Event
from crush_trio.wire.runs import Outcome
from crush_trio.wire.sessions import Session

logger = logging.getLogger(__name__)


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
    _conversation: Conversation | None = attrs.field(default=None, init=False)
    _around: Surroundings = attrs.field(init=False)
    _gear: Gear | None = attrs.field(default=None, init=False)
    _step: Step | None = attrs.field(default=None, init=False)
    _summary: Summary | None = attrs.field(default=None, init=False)

    # --- the lane's side ---------------------------------------------------------------

    async def play(self, run: RunRecord) -> None:
        """Answer the prompt, step by step, up to but without the last finish part.

        Raises:
            SessionNotFoundError: the session does not exist; nothing is stored.
            CrushTrioError: whatever fails the run.
        """
        conversation = self._conversation = await Conversation.open(self.bench, self.session_id)
        if conversation is None:
            raise SessionNotFoundError
        messages = conversation.history.messages
        titled = any(message.role == "user" and message.text for message in messages)
        conversation.say(run.prompt)
        gear = self._gear = await self.bench.equip(run.prompt)
        if not titled and run.prompt.text:
            self.bench.start_title(conversation.session, run.prompt, gear)
        self._around = self.bench.surroundings()
        permissions = self._around.permissions
        with ExitStack() as stack:
            if gear.unattended is not None:
                stack.enter_context(permissions.unattended(self.session_id, gear.unattended))
            await self._play_steps(run, gear, conversation)

    async def finish(self, run: RunRecord) -> None:
        """Store how the turn ended, whatever it had come to. Called shielded, with a bound.

        Raises:
            StoreError: the end could not be stored (C2).
        """
        conversation = self._conversation or await Conversation.open(self.bench, self.session_id)
        if conversation is None:
            return
        self._conversation = conversation
        if not conversation.said:
            conversation.say(run.prompt)
        step = self._step or self._new_step(run, conversation)
        step.draft.close_parts()
        self._end_summary(conversation)
        usage: Job[Session] | None = None
        last: Job[None] | None = None
        if run.outcome == "completed":
            if not step.draft.finished:  # one that a summary follows has been closed before it
                assert self._gear is not None
                usage = step.post_usage(self._gear)
                last = step.draft.finish(step.reason)
        else:
            step.answer_open_calls(cancelled=run.outcome == "cancelled")
            last = _finish_early(step, run)
        run.text = step.draft.text
        conversation.history.replace(step.draft.message)
        is_stored = False
        try:
            if last is not None:
                await last.wait()  # first: whatever else failed, no message comes after this (R8)
            if conversation.jobs:
                await conversation.wait_stored()
            if usage is not None:  # not awaited: the run's end goes out with this one
                conversation.session = usage.result()
            is_stored = True
        except CrushTrioError as error:
            await _finish_again(step, run, error)
            raise
        finally:
            if not is_stored:  # then what is kept is not what is there
                self.bench.histories.drop(self.session_id)

    def farewell(self, run: RunRecord) -> list[Event]:
        """Return the event that tells of a normal end or of a failure; a cancel has none. Sync."""
        match run.outcome:
            case "completed":
                title = "" if self._conversation is None else self._conversation.session.title
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
        elif self._step is not None:
            await self._step.draft.flush()

    # --- steps -----------------------------------------------------------------------------

    async def _play_steps(self, run: RunRecord, gear: Gear, conversation: Conversation) -> None:
        loops = LoopDetector()
        goes_on, is_fresh, has_room = True, False, True
        while goes_on:
            self._fold(conversation)
            step = self._new_step(run, conversation)
            goes_on = await self._play_step(step, run, gear, conversation)
            if goes_on and loops.looping(step.results()):
                step.reason = "tool_use"
                return
            is_full = gear.auto_summarize and _is_nearly_full(step, gear, conversation.session)
            has_room &= not (
                is_full and is_fresh
            )  # else one summary would follow the other for ever
            is_fresh = is_full and (has_room or not goes_on)
            if goes_on or is_fresh:
                await _close_step(step, gear, conversation)
            if is_fresh:
                await self._summarise(gear, conversation, needed=goes_on)
                if goes_on:
                    conversation.say(Prompt(continuation(run.prompt.text)))
            elif is_full:
                logger.warning(
                    "session %s fills the window of model %s even after a summary: it goes on without",
                    self.session_id,
                    gear.chosen.model.id,
                )

    def _fold(self, conversation: Conversation) -> None:
        """Let the prompts that wait join the conversation, if they may. Not a checkpoint."""
        for prompt in self.bench.fold(self.session_id):
            conversation.say(prompt)
            if prompt.interactive is not False:
                self._around.permissions.attend(self.session_id)

    def _new_step(self, run: RunRecord, conversation: Conversation) -> Step:
        """Begin a step with its empty message. Not a checkpoint."""
        model, provider = self.bench.model_names(run.prompt)
        if self._gear is not None:
            selected = self._gear.chosen.selected
            model, provider = selected.model, selected.provider
        self._step = Step(conversation, model, provider)
        run.message_id, run.text = self._step.draft.id, ""
        return self._step

    async def _play_step(
        self, step: Step, run: RunRecord, gear: Gear, conversation: Conversation
    ) -> bool:
        """Play one step; return whether another one follows."""
        await conversation.wait_stored()
        await step.draft.wait_stored()
        await step.stream(gear)
        run.text = step.draft.text
        if not step.draft.calls:
            return False
        conversation.history.replace(step.draft.message)
        step.reason = "tool_use"
        if await step.run_tools(gear, self._around):
            step.reason = "end_turn"
            return False
        return True

    # --- a full window ---------------------------------------------------------------------------

    async def _summarise(self, gear: Gear, conversation: Conversation, *, needed: bool) -> None:
        """Let a summary stand for the conversation from now on.

        Args:
            gear: The model that writes it.
            conversation: Its last step is closed.
            needed: Whether the turn cannot go on without it. If it can, a failure is only told in the
                summary's own message.

        Raises:
            CrushTrioError: the summary failed, and the turn cannot go on without it.
        """
        summary = Summary(self.bench, gear, conversation.session, conversation.history)
        self._summary = summary
        failure: BaseExceptionGroup[CrushTrioError] | None = None
        try:
            await summary.write()
        except* CrushTrioError as errors:
            failure = errors
        if failure is None:
            await summary.close()
            self._summary = None
            conversation.session = await summary.use().wait()
            return
        self._summary = None
        await summary.fail(failure).wait()
        logger.warning("session %s could not be summarised: %s", self.session_id, failure)
        if needed:
            raise failure

    def _end_summary(self, conversation: Conversation) -> None:
        """Take out a summary that was being written when the turn ended early. Not a checkpoint."""
        if self._summary is not None:
            conversation.jobs.append(self._summary.discard())


def _is_nearly_full(step: Step, gear: Gear, session: Session) -> bool:
    """Whether the conversation leaves the model too little room (agent contract 1.15)."""
    usage = step.collected.usage
    prompt = usage.input + usage.cache_read or session.prompt_tokens
    completion = usage.output or session.completion_tokens
    return is_nearly_full(gear.chosen.model.context_window, prompt + completion)


async def _close_step(step: Step, gear: Gear, conversation: Conversation) -> None:
    """Store a step that something follows in this turn: usage first, then its finish part."""
    usage = step.post_usage(gear)
    step.draft.finish(step.reason)
    conversation.history.replace(step.draft.message)
    await step.draft.wait_stored()
    conversation.session = await usage.wait()


def _finish_early(step: Step, run: RunRecord) -> Job[None]:
    """Write the finish part of a turn that was cancelled or failed (agent contract 1.17)."""
    if run.outcome == "cancelled":
        return step.draft.finish("canceled", "User canceled request")
    if isinstance(run.error, ProviderError):
        return step.draft.finish("error", run.error.title, encodable(str(run.error)))
    details = "" if run.error is None else error_text(run.error)
    return step.draft.finish("error", "Provider Error", details)


async def _finish_again(step: Step, run: RunRecord, error: CrushTrioError) -> None:
    """Try once more to leave a well-formed end: a disk may have failed for a moment only (R9).

    The run has failed all the same (C2). What cannot be stored now is settled when the store is
    opened next.
    """
    cancelled = run.outcome == "cancelled"
    step.forget_unstored_results()
    step.answer_open_calls(cancelled=cancelled)
    if cancelled:
        last = _finish_early(step, run)
    else:
        last = step.draft.finish("error", "Storage Error", error_text(error))
    with suppress(CrushTrioError):
        await last.wait()
