"""The assistant message of one step while a model is writing it (agent contract 1.8, 4.5).

Deltas are collected here without a checkpoint. A task of the step, :meth:`Draft.keep_stored`,
stores and publishes what has come together: the first text at once, then a snapshot whenever the
pause that the message's size asks for is over, and in between, for a long message, only the new
text to the journal. Tool calls and finished reasoning go out in the same step as they come.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Literal

import attrs
import msgspec
import trio

from crush_trio.errors import StoreError
from crush_trio.messages import (
    Finish,
    FinishPart,
    FinishReason,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    Text,
    TextPart,
    ToolCall,
    ToolCallPart,
    encodable,
)
from crush_trio.providers.thinking import is_joined, plain_signature
from crush_trio.settings import Settings
from crush_trio.store import Job, Store


@attrs.define(eq=False)
class _Flow:
    """Text that grows: its fragments, how much of it the row or the journal already has."""

    fragments: list[str] = attrs.field(factory=list[str])
    length: int = 0
    stored: int = 0

    def add(self, text: str) -> None:
        self.fragments.append(text)
        self.length += len(text)

    @property
    def text(self) -> str:
        if len(self.fragments) > 1:
            self.fragments[:] = ["".join(self.fragments)]
        return self.fragments[0] if self.fragments else ""


class Draft:
    """A message being written. One task adds to it, another one keeps it stored.

    Args:
        store: Where it is kept.
        message: The empty message as it was created.
        settings: The pauses between snapshots.
        now: Unix seconds.
    """

    def __init__(
        self,
        store: Store,
        message: Message,
        settings: Settings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._base = message
        self._order: list[str] = []
        self._text = _Flow()
        self._reasoning = _Flow()
        self._signature = ""
        self._started_at = 0
        self._finished_at = 0
        self._calls: dict[str, ToolCall] = {}
        self._finish: Finish | None = None
        self._dirty = False
        self._wakeup = trio.Event()
        self._next_snapshot = trio.current_time()
        self._jobs: list[Job[None]] = [store.create_message(message)]

    def __repr__(self) -> str:
        return f"<Draft {self._base.id} {self._order} finish {self._finish}>"

    # --- reading --------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The message's id."""
        return self._base.id

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text.text

    @property
    def size(self) -> int:
        """Characters of all that the model wrote."""
        calls = sum(len(call.input) for call in self._calls.values())
        return self._text.length + self._reasoning.length + calls

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far, in the model's order."""
        return tuple(self._calls.values())

    @property
    def finished(self) -> bool:
        """Whether the finish part has been written."""
        return self._finish is not None

    @property
    def message(self) -> Message:
        """The message as it stands."""
        return msgspec.structs.replace(self._base, parts=tuple(map(self._part, self._order)))

    def _part(self, key: str) -> Part:
        match key:
            case "text":
                return TextPart(Text(self._text.text))
            case "reasoning":
                return ReasoningPart(
                    Reasoning(
                        self._reasoning.text,
                        plain_signature(self._signature),
                        blocks=self._signature if is_joined(self._signature) else msgspec.UNSET,
                        started_at=self._started_at,
                        finished_at=self._finished_at or msgspec.UNSET,
                    )
                )
            case "finish":
                assert self._finish is not None
                return FinishPart(self._finish)
            case _:
                return ToolCallPart(self._calls[key.removeprefix("call ")])

    # --- writing: sync, called by whoever reads the model's stream ---------------------

    def _mark_dirty(self) -> None:
        self._dirty = True
        self._wakeup.set()

    def _open(self, key: str) -> None:
        if key not in self._order:
            self._order.append(key)

    def add_text(self, text: str) -> None:
        """Append to the answer; one newline at the very beginning is dropped."""
        if not self._order and text.startswith("\n"):
            text = text[1:]
        if text:
            self._open("text")
            self._text.add(encodable(text))
            self._mark_dirty()

    def add_reasoning(self, text: str) -> None:
        """Append to the reasoning; the first fragment says when it began."""
        if "reasoning" not in self._order:
            self._started_at = int(self._now())
            self._open("reasoning")
        self._reasoning.add(encodable(text))
        self._mark_dirty()

    def end_reasoning(self, signature: str = "") -> None:
        """Close the reasoning, if there is any that is open; stored and published at once.

        A signature is always kept: reasoning may go on after it was closed, or have no text.
        """
        if signature and "reasoning" not in self._order:
            self._started_at = int(self._now())
            self._open("reasoning")
        if "reasoning" in self._order and (signature or not self._finished_at):
            self._signature = signature or self._signature
            self._finished_at = int(self._now())
            self._post()

    def start_call(self, call_id: str, name: str) -> None:
        """Announce a tool call; stored and published at once."""
        self._open(f"call {call_id}")
        self._calls[call_id] = ToolCall(call_id, name)
        self._post()

    def end_call(self, call_id: str, name: str, arguments: str) -> None:
        """Complete a tool call; stored and published at once."""
        self._open(f"call {call_id}")
        self._calls[call_id] = ToolCall(call_id, name, arguments, finished=True)
        self._post()

    def retract(self) -> None:
        """Take back all that was streamed: the request is tried again (agent contract 1.19)."""
        if self._order:
            self._order.clear()
            self._calls.clear()
            self._text, self._reasoning = _Flow(), _Flow()
            self._signature, self._started_at, self._finished_at = "", 0, 0
            self._post(streaming=True)

    def close_parts(self) -> None:
        """Close what a turn that ended early left open: the reasoning and the unfinished calls.

        Each is part of the next post; an unfinished call gets empty arguments (wire 6.5).
        """
        if "reasoning" in self._order and not self._finished_at:
            self._finished_at = int(self._now())
        unfinished = [call for call in self._calls.values() if not call.finished]
        for call in unfinished:
            self._calls[call.id] = ToolCall(call.id, call.name, "{}", finished=True)
        if unfinished:
            self._post()

    def finish(self, reason: FinishReason, message: str = "", details: str = "") -> Job[None]:
        """Add or replace the finish part; stored and published at once, as the job tells."""
        told = message or msgspec.UNSET
        self._finish = Finish(reason, int(self._now()), told, details or msgspec.UNSET)
        self._open("finish")
        return self._post()

    # --- storing ----------------------------------------------------------------------

    def _post(self, *, streaming: bool = False) -> Job[None]:
        """Hand the whole message to the store. Not a checkpoint; the order of posts is the order of events."""
        self._dirty = False
        self._text.stored, self._reasoning.stored = self._text.length, self._reasoning.length
        job = self._store.update_message(self.message, streaming=streaming)
        self._jobs.append(job)
        pause = max(self._settings.snapshot_pause, self.size / self._settings.snapshot_rate)
        self._next_snapshot = trio.current_time() + pause
        return job

    def _post_increments(self) -> None:
        """Hand only the new text to the journal, so that a crash does not lose it (C1)."""
        flows: tuple[tuple[Literal["reasoning", "text"], _Flow], ...]
        flows = (("reasoning", self._reasoning), ("text", self._text))
        for part, flow in flows:
            if flow.length > flow.stored:
                fragment = flow.text[flow.stored :]
                self._jobs.append(
                    self._store.append_journal(self._base.id, part, flow.stored, fragment)
                )
                flow.stored = flow.length

    async def keep_stored(self) -> None:
        """Store what comes together, for ever, at the pace that the message's size asks for.

        Raises:
            StoreError: a write failed (C2).
        """
        while True:
            while not self._dirty:
                self._wakeup = trio.Event()
                await self._wakeup.wait()
            if trio.current_time() >= self._next_snapshot:
                self._post(streaming=True)
            else:
                await self._wait_pause()
            await self.wait_stored()

    async def _wait_pause(self) -> None:
        """Wait until the next snapshot is due, or for as long as text may stay out of the journal."""
        due = min(self._next_snapshot, trio.current_time() + self._settings.journal_pause)
        await trio.sleep_until(due)
        if due < self._next_snapshot:
            self._post_increments()

    async def flush(self) -> None:
        """Store and publish a snapshot of what is not stored yet. Always a checkpoint.

        For a reader beside the run: a write that fails is left for the run to find.
        """
        if self._dirty:
            self._post(streaming=True)
        await trio.lowlevel.checkpoint()
        for job in list(self._jobs):
            with contextlib.suppress(StoreError):
                await job.wait()

    async def wait_stored(self) -> None:
        """Wait until all that was posted is stored. Always a checkpoint.

        Raises:
            StoreError: one of the writes failed (C2).
        """
        await trio.lowlevel.checkpoint()
        while self._jobs:
            job = self._jobs[0]
            try:
                await job.wait()
            finally:
                if job.done and self._jobs and self._jobs[0] is job:
                    del self._jobs[0]
