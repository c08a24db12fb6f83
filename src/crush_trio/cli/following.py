"""One run, as the events of its workspace tell it. Sync, and without any I/O but the output's.

Events of messages name no run. The run's messages are those of its session after its own prompt,
since a session's runs never overlap (R12).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from crush_trio.cli.output import Output
from crush_trio.messages import Finish, FinishPart
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.messages import WireMessage, WireToolCall, WireToolCallPart
from crush_trio.wire.runs import Outcome, RunResult

WIDTH = 100
"""Characters of a tool call's line."""


class Follower:
    """What is known of one run.

    Args:
        known: The session's messages from before the prompt; None for a session of our own, in
            which every message is the run's.
    """

    def __init__(
        self,
        session_id: str,
        run_id: str,
        prompt: str,
        output: Output,
        known: frozenset[str] | None = None,
    ) -> None:
        self.session_id = session_id
        self.run_id = run_id
        self._prompt = prompt
        self._output = output
        self._known = known
        self._started = known is None
        self._calls: set[str] = set()
        self._messages: set[str] = set()

    def __repr__(self) -> str:
        return f"<Follower {self.run_id} started={self._started}>"

    def take(self, event: Event) -> RunResult | None:
        """Print what an event brings; return the result with the run's last event."""
        match event.payload:
            case WireMessage() as message if message.session_id == self.session_id:
                self._take_message(message)
            case RunComplete() as end if end.run_id == self.run_id:
                return self._end(end)
            case _:
                pass
        return None

    def asks(self, session_id: str) -> bool:
        """Whether a permission that ``session_id`` asks for is this run's, or its sub-agent's."""
        parent, separator, _ = session_id.partition("$$")
        return session_id == self.session_id or bool(separator and parent in self._messages)

    def take_stored(self, messages: Sequence[WireMessage]) -> list[WireMessage]:
        """Print what was missed of the stored session; return the run's messages, prompt first."""
        mine: list[WireMessage] = []
        for message in messages:
            if mine or self._is_prompt(message):
                mine.append(message)
                self._take_message(message)
            if mine and _ends_run(message):
                break
        return mine

    def _is_prompt(self, message: WireMessage) -> bool:
        known = self._known or frozenset()
        return message.role == "user" and message.id not in known and message.text == self._prompt

    def _take_message(self, message: WireMessage) -> None:
        self._started = self._started or self._is_prompt(message)
        if not self._started or message.role != "assistant":
            return
        self._messages.add(message.id)
        if message.is_summary_message is not True:
            final = _finish(message) is not None
            self._output.show(message.id, message.text, final=final)
        for part in message.parts:
            if isinstance(part, WireToolCallPart) and part.data.finished is True:
                self._tell_call(part.data)

    def _tell_call(self, call: WireToolCall) -> None:
        if call.id not in self._calls:
            self._calls.add(call.id)
            self._output.progress(call_line(call.name, call.input))

    def _end(self, end: RunComplete) -> RunResult:
        text = end.text or ""
        if text and not self._output.has_text:  # its messages were not told from others'
            self._output.show(end.message_id, text)
        return self._result(outcome_of(end), end.message_id, text, end.error or msgspec.UNSET)

    def stored_result(self, mine: Sequence[WireMessage]) -> RunResult:
        """Return the result of a run that has ended, from its stored messages."""
        last = next((message for message in reversed(mine) if message.role == "assistant"), None)
        finish = _finish(last) if last is not None else None
        if last is None or finish is None:
            return self._result("failed", "", "", "the server lost the run")
        if finish.reason == "error":
            told = ": ".join(text for text in (finish.message, finish.details) if text)
            return self._result("failed", last.id, last.text, told or "the run failed")
        outcome: Outcome = "cancelled" if finish.reason == "canceled" else "completed"
        return self._result(outcome, last.id, last.text, msgspec.UNSET)

    def _result(
        self, outcome: Outcome, message_id: str, text: str, error: str | msgspec.UnsetType
    ) -> RunResult:
        cancelled = outcome == "cancelled"
        return RunResult(self.run_id, self.session_id, outcome, cancelled, message_id, text, error)


def outcome_of(end: RunComplete) -> Outcome:
    """Return how a run ended. An error beside a cancel is no failure (R4)."""
    if end.cancelled is True:
        return "cancelled"
    return "failed" if end.error else "completed"


def call_line(name: str, arguments: str) -> str:
    """Return one line about a tool call: its name and its first argument."""
    try:
        values = list(json.loads(arguments or "{}").values())
    except (ValueError, AttributeError):
        values = [arguments]
    first = values[0] if values else ""
    if not isinstance(first, str):
        first = json.dumps(first, ensure_ascii=False)
    first = " ".join(first.split())
    line = f"{name}: {first}" if first else name
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _finish(message: WireMessage) -> Finish | None:
    return next((part.data for part in message.parts if isinstance(part, FinishPart)), None)


def _ends_run(message: WireMessage) -> bool:
    finish = _finish(message)
    return message.role == "assistant" and finish is not None and finish.reason != "tool_use"
