"""What was heard and what is stored: in short words, and what must hold for it."""

from __future__ import annotations

from typing import Any

import attrs

from crush_trio.messages import FinishPart
from crush_trio.wire.messages import WireMessage, WireToolCallPart, WireToolResultPart


@attrs.frozen
class Heard:
    """One event as a reader got it."""

    type: str
    change: str
    payload: Any


def finish_of(message: WireMessage) -> str:
    """Return the reason that a message finished with; empty for one that has not."""
    return next((part.data.reason for part in message.parts if isinstance(part, FinishPart)), "")


def told(messages: list[WireMessage]) -> list[str]:
    """Return messages as short texts: ``role reason text``."""
    return [" ".join(filter(None, (m.role, finish_of(m), m.text))) for m in messages]


def check_stream(events: list[Heard]) -> None:
    """Check what holds for every stream, whatever happened (S4, R8)."""
    known: set[str] = set()
    complete: set[tuple[str, str]] = set()
    of_session: dict[str, set[str]] = {}
    over: set[str] = set()
    for event in events:
        if event.type == "message":
            identity = event.payload.id
            if event.change == "created":
                assert identity not in known, f"{identity} was created twice"
                known.add(identity)
                of_session.setdefault(event.payload.session_id, set()).add(identity)
            assert identity not in over, f"{identity} was said after its run's end"
        elif event.type == "run_complete":
            done = (event.payload.session_id, event.payload.run_id)
            assert done not in complete, f"run {done} ended twice"
            complete.add(done)
            if event.payload.message_id:  # a prompt that only waited ends beside the active run
                over |= of_session.get(event.payload.session_id, set())


def check_history(messages: list[WireMessage]) -> None:
    """Check that a stored conversation is one that a strict provider takes (R9)."""
    calls: list[str] = []
    results: list[str] = []
    for message in messages:
        if message.role == "assistant":
            assert finish_of(message), f"message {message.id} has no finish"
        for part in message.parts:
            if isinstance(part, WireToolCallPart):
                assert part.data.finished, f"call {part.data.id} is unfinished"
                calls.append(part.data.id)
            elif isinstance(part, WireToolResultPart):
                results.append(part.data.tool_call_id)
    assert sorted(calls) == sorted(results)
