"""One step of a turn: what a model says, and the results of the tools that it calls.

Above it is the turn, which decides whether another step follows; below it the draft, which holds the
message, the provider's stream (``collect``) and the tools (``calls``). A call has its result from the
moment in which the result is posted, and loses it again if it could not be stored: so that in the
end every call has exactly one (R9).
"""

from __future__ import annotations

from collections.abc import Iterator

from crush_trio.agent.calls import run_calls, tool_result
from crush_trio.agent.collect import Collected, collect
from crush_trio.agent.conversation import Conversation
from crush_trio.agent.draft import Draft
from crush_trio.agent.gear import Gear
from crush_trio.agent.history import model_messages
from crush_trio.agent.usage import cost
from crush_trio.errors import CrushTrioError
from crush_trio.ids import MessageID
from crush_trio.messages import (
    STOP,
    FinishReason,
    ToolCall,
    ToolResult,
    ToolResultPart,
)
from crush_trio.providers.base import ModelRequest
from crush_trio.store import Job
from crush_trio.tools.base import Surroundings, ToolAnswer, ToolContext
from crush_trio.wire.sessions import Session

CANCELLED_RESULT = "Error: user cancelled assistant tool calling"
"""Result of a call that a cancel left without one; clients recognise it (agent contract 1.17)."""

FAILED_RESULT = "There was an error while executing the tool"
"""Result of a call that a failure left without one (agent contract 1.17)."""


class Step:
    """A step that has begun: its message is in the conversation, and empty. Made without a checkpoint.

    Args:
        conversation: What it goes on with.
        model: The selected model's id, which the message names.
        provider: The provider's id, likewise.

    Attributes:
        draft: The message that the model writes.
        collected: What else its stream brought.
        reason: Why the step ends.
    """

    def __init__(self, conversation: Conversation, model: str, provider: str) -> None:
        bench = conversation.bench
        message = conversation.new_message("assistant", model=model, provider=provider)
        conversation.history.append(message)
        self.draft = Draft(bench.store, message, bench.settings, bench.now)
        self.collected = Collected()
        self.reason: FinishReason = "unknown"
        self._conversation = conversation
        self._results: dict[str, ToolResult] = {}
        self._result_jobs: dict[str, Job[None]] = {}

    def __repr__(self) -> str:
        return f"<Step {self.draft!r} results {list(self._results)}>"

    # --- the model -----------------------------------------------------------------------

    async def stream(self, gear: Gear) -> None:
        """Let the model write the message, tried again as often as makes sense.

        Raises:
            ProviderError: the model failed.
            StoreError: what it wrote could not be stored (C2).
        """
        end = await collect(gear.provider, self._request(gear), self.draft, self.collected)
        self.reason = end.reason

    def _request(self, gear: Gear) -> ModelRequest:
        history = self._conversation.history
        conversation = model_messages(
            history.messages,
            history.memo,
            summary_id=self._conversation.session.summary_message_id,
            images=gear.chosen.model.supports_attachments,
            inside=gear.pictures_inside,
        )
        return ModelRequest(
            model=gear.model_id,
            messages=[*gear.system, *conversation],
            tools=gear.specs,
            options=gear.options,
            session_key=self._conversation.session_id,
        )

    # --- tools ---------------------------------------------------------------------------

    async def run_tools(self, gear: Gear, around: Surroundings) -> bool:
        """Run the step's calls, each result stored as it comes; return whether to stop the turn.

        Raises:
            CrushTrioError: a result could not be stored.
        """
        await self.draft.wait_stored()  # a call is seen before its result (S4)

        def context(call: ToolCall) -> ToolContext:
            return ToolContext(
                self._conversation.session_id,
                MessageID(self.draft.id),
                call.id,
                around,
                supports_images=gear.chosen.model.supports_attachments,
                model_name=gear.chosen.model.name,
            )

        async def answered(call: ToolCall, answer: ToolAnswer) -> None:
            stored = self._add_result(tool_result(call, answer))
            try:
                await stored.wait()
            except CrushTrioError:
                del self._results[call.id]  # the end of the turn writes another one (R9)
                raise

        return await run_calls(
            self.draft.calls, frozenset(self.collected.broken), gear.tools, context, answered
        )

    def results(self) -> Iterator[tuple[ToolCall, ToolResult]]:
        """Return the calls with their results, once all have run."""
        return ((call, self._results[call.id]) for call in self.draft.calls)

    def _add_result(self, result: ToolResult) -> Job[None]:
        self._results[result.tool_call_id] = result
        job = self._conversation.add("tool", (ToolResultPart(result), STOP))
        self._result_jobs[result.tool_call_id] = job
        return job

    def answer_open_calls(self, *, cancelled: bool) -> None:
        """Give every call without a result one, in the calls' order (R9). Not a checkpoint."""
        text = CANCELLED_RESULT if cancelled else FAILED_RESULT
        for call in self.draft.calls:
            if call.id not in self._results:
                self._add_result(ToolResult(call.id, call.name, text, is_error=True))

    def forget_unstored_results(self) -> None:
        """Count the calls as open again whose results could not be stored. Not a checkpoint."""
        for call_id, stored in self._result_jobs.items():
            if stored.failed:
                self._results.pop(call_id, None)

    # --- its end -------------------------------------------------------------------------

    def post_usage(self, gear: Gear) -> Job[Session]:
        """Post what the step has used. Not a checkpoint."""
        usage = self.collected.usage
        return self._conversation.bench.store.add_usage(
            self._conversation.session_id,
            prompt_tokens=usage.input + usage.cache_read,
            completion_tokens=usage.output,
            cost=cost(usage, gear.chosen.model, flat_rate=gear.flat_rate),
        )
