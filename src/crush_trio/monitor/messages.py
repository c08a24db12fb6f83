"""Checks on what runs say: their one end comes last (R8), what they leave is whole (R9), in order (S4).

Each hub is followed on its own, since each of them tells its own readers.
"""

from __future__ import annotations

import attrs
import msgspec

from crush_trio.messages import FinishPart
from crush_trio.monitor.ledger import Bounded, Ledger
from crush_trio.monitor.runs import RunChecks, RunRecord
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.messages import (
    WireMessage,
    WireReasoningPart,
    WireToolCallPart,
    WireToolResultPart,
)

SAID_KEPT = 4096
"""Messages of settled runs that a hub is followed with, for one that speaks after its end."""


@attrs.define(eq=False)
class _Said:
    """A message of a run that has not settled.

    Attributes:
        calls: The tool calls that it has, or had until a retry withdrew them.
        answers: How many results each of its tool calls has.
    """

    run: RunRecord
    payload: WireMessage
    finished: bool = False
    calls: set[str] = attrs.field(factory=set[str])
    answers: dict[str, int] = attrs.field(factory=dict[str, int])


@attrs.define(eq=False)
class _Voice:
    """What one hub has told.

    Attributes:
        number: Tells which runs were accepted before it was there.
        of_run: The messages of each run that has not settled.
        calls: The newest message that holds a tool call, by session and call; models use ids again.
        over: Messages whose runs have settled.
        quiet: Messages of quiet runs that have settled: such a run settles just before its last
            event, for no later one would tell that the session is idle.
    """

    number: int
    said: dict[str, _Said] = attrs.field(factory=dict[str, _Said])
    of_run: dict[RunRecord, list[str]] = attrs.field(factory=dict[RunRecord, list[str]])
    calls: dict[tuple[str, str], _Said] = attrs.field(factory=dict[tuple[str, str], _Said])
    over: Bounded[str, RunRecord] = attrs.field(factory=lambda: Bounded[str, RunRecord](SAID_KEPT))
    quiet: Bounded[str, _Said] = attrs.field(factory=lambda: Bounded[str, _Said](SAID_KEPT))


class MessageChecks:
    """Follows the messages and the ends of runs in every hub."""

    def __init__(self, ledger: Ledger, runs: RunChecks) -> None:
        self._ledger = ledger
        self._runs = runs
        self._voices: dict[object, _Voice] = {}

    def _voice(self, hub: object) -> _Voice:
        voice = self._voices.get(hub)
        if voice is None:
            voice = self._voices[hub] = _Voice(self._runs.next_number())
        return voice

    def hub_opened(self, hub: object) -> None:
        """Follow a hub from now on."""
        self._voice(hub)

    def hub_closed(self, hub: object) -> None:
        """Forget a hub."""
        self._voices.pop(hub, None)

    # --- messages --------------------------------------------------------------------

    def message(self, hub: object, event: Event, message: WireMessage) -> None:
        """Check one state of a message against what came before."""
        voice = self._voice(hub)
        if event.change == "created":
            self._created(hub, voice, message)
        elif event.change == "updated":
            self._updated(hub, voice, event, message)
        else:
            self._deleted(voice, message)

    def _created(self, hub: object, voice: _Voice, message: WireMessage) -> None:
        if message.id in voice.said or message.id in voice.over:
            self._ledger.violated("S4", "a message was created twice", message.id)
        run = self._runs.active(message.session_id, hub)
        if run is None:
            return  # nobody's: another program's, or of a disk that was too late
        said = voice.said[message.id] = _Said(run, message)
        voice.of_run.setdefault(run, []).append(message.id)
        self._look(voice, said)

    def _updated(self, hub: object, voice: _Voice, event: Event, message: WireMessage) -> None:
        said = voice.said.get(message.id)
        if said is not None:
            said.payload = message
            if not event.streaming:
                self._look(voice, said)
        elif (said := voice.quiet.pop(message.id, None)) is not None:
            said.payload = message
            voice.over[message.id] = said.run
            self._check_message(said)
        elif (run := voice.over.get(message.id)) is not None:
            if not run.unstored:
                self._ledger.violated("R8", "a message came after its run's end", message.id, run)
        else:
            active = self._runs.active(message.session_id, hub)
            if active is not None and active.number > voice.number:
                self._ledger.violated("S4", "an update of a message that is not there", message.id)

    def _deleted(self, voice: _Voice, message: WireMessage) -> None:
        """Forget a message that was taken back, as a cancelled summary is."""
        voice.quiet.pop(message.id, None)
        said = voice.said.pop(message.id, None)
        if said is not None and said.run in voice.of_run:
            voice.of_run[said.run].remove(message.id)

    def _look(self, voice: _Voice, said: _Said) -> None:
        """Take note of the calls, the results and the finish in a message."""
        for part in said.payload.parts:
            match part:
                case WireToolCallPart(data):
                    voice.calls[said.payload.session_id, data.id] = said
                    said.calls.add(data.id)
                case WireToolResultPart(data):
                    self._result(voice, said, data.tool_call_id)
                case FinishPart():
                    said.finished = True
                case _:
                    pass

    def _result(self, voice: _Voice, said: _Said, call_id: str) -> None:
        key = (said.payload.session_id, call_id)
        call = voice.calls.get(key)
        seen = (f"call {call_id}", said.run)
        if call is None:
            if said.run.number > voice.number:
                self._ledger.violated("S4", "a result came before its tool call", *seen)
            return
        call.answers[call_id] = call.answers.get(call_id, 0) + 1
        if call.answers[call_id] > 1:
            self._ledger.violated("R9", "a tool call has two results", *seen)
        elif call.finished:
            self._ledger.violated("S4", "a result came after the finish of its step", *seen)

    # --- the end of a run -----------------------------------------------------------------

    def completed(self, hub: object, end: RunComplete) -> None:
        """Check a terminal event against the run that it ends."""
        run, over = self._runs.find(end.session_id, end.run_id)
        if run is None or over:
            text = "an end of nobody's run" if run is None else "a second end of a run"
            self._ledger.violated("R8", text, f"run {end.run_id}", run or "")
            return
        run.told[hub] = run.told.get(hub, 0) + 1
        run.message_id, run.text = end.message_id, end.text or ""
        if run.told[hub] > 1:
            self._ledger.violated("R8", "a run was told to have ended twice", run)
        if not run.has_end:
            self._ledger.violated("R12", "a folded prompt has an end of its own", run)
        if run.outcome is None or not run.out:
            self._ledger.violated("R8", "an end was told while the session was busy with it", run)
        if (end.cancelled is True) != (run.outcome == "cancelled"):
            self._ledger.violated("R4", f"an end says cancelled: {end.cancelled}", run)
        self._check_text(self._voice(hub), end, run)

    def _check_text(self, voice: _Voice, end: RunComplete, run: RunRecord) -> None:
        if not end.message_id or run.unstored:
            return
        said = voice.said.get(end.message_id)
        if end.message_id in voice.over or (said is not None and said.run is not run):
            self._ledger.violated("R14", "an end names another run's message", run, end.message_id)
        elif said is not None and said.payload.text != (end.text or ""):
            self._ledger.violated("R14", "an end tells another text than the message", run)

    def settled(self, run: RunRecord, hub: object | None) -> None:
        """Check what a run has left behind, in every hub that heard of it.

        Args:
            run: Which has settled.
            hub: That of its workspace, if it is open.
        """
        concerned = {each for each, voice in self._voices.items() if run in voice.of_run}
        if hub is not None and hub in self._voices:
            concerned.add(hub)
        expected = 1 if run.has_end else 0
        for each in concerned:
            if run.told.get(each, 0) < expected:
                self._ledger.violated("R8", "a run settled without its terminal event", run)
            self._check_whole(self._voices[each], run)
        if not concerned and expected and self._voices and not run.told:
            self._ledger.violated("R8", "a run settled without its terminal event", run)

    def _check_whole(self, voice: _Voice, run: RunRecord) -> None:
        """Check that a run's messages are well formed, and forget them."""
        found = [voice.said.pop(each) for each in voice.of_run.pop(run, [])]
        for said in found:
            if run.quiet and not said.finished:
                voice.quiet[said.payload.id] = said
                continue
            voice.over[said.payload.id] = run
            for call_id in said.calls:
                voice.calls.pop((run.session_id, call_id), None)
            if not run.unstored:
                self._check_message(said)

    def _check_message(self, said: _Said) -> None:
        message, seen = said.payload, (f"message {said.payload.id}", said.run)
        if not any(isinstance(part, FinishPart) for part in message.parts):
            self._ledger.violated("R9", "a run left a message without a finish", *seen)
        for part in message.parts:
            match part:
                case WireReasoningPart(data):
                    if data.finished_at is msgspec.UNSET:
                        self._ledger.violated("R9", "a run left reasoning open", *seen)
                case WireToolCallPart(data):
                    if data.finished is not True:
                        self._ledger.violated("R9", "a run left a tool call open", *seen)
                    if data.id not in said.answers:
                        self._ledger.violated("R9", "a tool call has no result", *seen)
                case _:
                    pass
