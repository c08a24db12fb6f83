"""Messages told by what is new in them, in both directions. Pure; knows no log and no connection.

The log holds snapshots. A :class:`DeltaView` turns them into what one reader lacks: it remembers
which state of each unfinished message the reader has, so a slow reader gets one larger delta and
never a gap. A :class:`MessageAssembler` is the reader's side: it makes whole messages again.

Rule 1: both sides forget a message at the same event, so what the view takes for known, the
assembler knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import replace

from crush_trio.messages import FinishPart
from crush_trio.wire.events import DECODERS, Event, RunComplete, decode_event
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.sessions import Session
from crush_trio.wire.streams import MessageDelta
from crush_trio.wire.tails import TailMessage, grown, overlap, tail, text_of, whole, with_text

Known = TypeVar("Known")


class DeltaView:
    """What one reader has been sent of each unfinished message.

    Asking and noting are two steps, so that a frame which does not fit into a chunk changes
    nothing.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Event] = {}

    def __repr__(self) -> str:
        return f"<DeltaView {len(self._seen)} unfinished>"

    def frames(self, event: Event) -> tuple[bytes, ...]:
        """Return the frames that tell this reader of an event; at least one."""
        if not isinstance(event.payload, WireMessage) or event.change != "updated":
            return (event.frame,)
        previous = self._seen.get(event.payload.id)
        return (event.frame,) if previous is None else _frames_after(previous, event)

    def sent(self, event: Event) -> None:
        """Take note that the reader gets all :meth:`frames` of an event."""
        if isinstance(event.payload, WireMessage):
            _keep(self._seen, event.payload, event, event)
        elif self._seen:
            _forget(self._seen, event, _message)


def _message(event: Event) -> WireMessage:
    assert isinstance(event.payload, WireMessage)
    return event.payload


def _frames_after(previous: Event, event: Event) -> tuple[bytes, ...]:
    """Return the frames for a reader whose last state of the message is ``previous``.

    All readers at that state share them, and the last one to leave it drops them: a strong
    reference to it would keep every snapshot of a message alive in one chain.
    """
    if event.continuations is None:
        event.continuations = WeakKeyDictionary()
    found = event.continuations.get(previous)
    if found is None:
        found = _make_frames(_message(previous), event)
        event.continuations[previous] = found
    return found


def _make_frames(old: WireMessage, event: Event) -> tuple[bytes, ...]:
    new = _message(event)
    if event.streaming and (deltas := _deltas(old, new)):
        return tuple(Event("message_delta", "created", delta).frame for delta in deltas)
    offsets = [overlap(had, part) or 0 for had, part in zip(old.parts, new.parts, strict=False)]
    if not any(offsets):
        return (event.frame,)
    parts = (*map(tail, new.parts, offsets), *new.parts[len(offsets) :])
    return (Event("message", event.change, replace(new, parts=parts)).frame,)


def _deltas(old: WireMessage, new: WireMessage) -> list[MessageDelta]:
    """Return one delta for each part that has grown; none if anything else has changed."""
    if len(old.parts) != len(new.parts) or replace(old, parts=()) != replace(new, parts=()):
        return []
    found: list[MessageDelta] = []
    for index, (had, part) in enumerate(zip(old.parts, new.parts, strict=True)):
        if had == part:
            continue
        offset, text = overlap(had, part), text_of(part)
        if offset is None or text is None or with_text(had, text) != part:
            return []
        found.append(MessageDelta(new.id, new.session_id, index, offset, text[offset:]))
    return found


_DECODERS = {**DECODERS, "message": msgspec.json.Decoder(TailMessage)}


class MessageAssembler:
    """Decodes a stream's events and makes its messages whole. Good for a stream without deltas too.

    One stream, one assembler: after a reconnect the server begins with whole messages again.
    """

    def __init__(self) -> None:
        self._known: dict[str, WireMessage] = {}

    def __repr__(self) -> str:
        return f"<MessageAssembler {len(self._known)} unfinished>"

    def take(self, data: bytes | str) -> Event | None:
        """Return the event of one ``data:`` line's JSON, or None if its type is not known here.

        A delta comes back as an ``updated`` event of its message.

        Raises:
            msgspec.DecodeError: the line is not an event, or continues what has not come.
        """
        event = decode_event(data, _DECODERS)
        if event is None:
            return None
        match event.payload:
            case TailMessage() as told:
                message = self._whole(told)
            case MessageDelta() as delta:
                message = self._grown(delta)
            case _:
                _forget(self._known, event, lambda message: message)
                return event
        change = "updated" if event.type == "message_delta" else event.change
        event = Event("message", change, message)
        _keep(self._known, message, message, event)
        return event

    def _whole(self, told: TailMessage) -> WireMessage:
        known = self._known.get(told.id)
        had = () if known is None else known.parts
        had = (*had[: len(told.parts)], *[None] * (len(told.parts) - len(had)))
        return WireMessage(
            tuple(map(whole, told.parts, had)),
            told.id,
            told.role,
            told.session_id,
            told.model,
            told.provider,
            told.created_at,
            told.updated_at,
            told.is_summary_message,
        )

    def _grown(self, delta: MessageDelta) -> WireMessage:
        known = self._known.get(delta.message_id)
        if known is None or not 0 <= delta.part < len(known.parts):
            raise msgspec.ValidationError(
                f"message {delta.message_id!r} goes on with part {delta.part}, which never began"
            )
        parts = list(known.parts)
        parts[delta.part] = grown(parts[delta.part], delta.offset, delta.text)
        return replace(known, parts=tuple(parts))


def _keep(known: dict[str, Known], message: WireMessage, state: Known, event: Event) -> None:
    """Remember a message's state until it is finished or gone (rule 1)."""
    finished = any(isinstance(part, FinishPart) for part in message.parts)
    if finished or event.change == "deleted":
        known.pop(message.id, None)
    else:
        known[message.id] = state


def _forget(
    known: dict[str, Known], event: Event, message_of: Callable[[Known], WireMessage]
) -> None:
    """Forget what nobody will finish: its run has ended, or its session is gone (rule 1)."""
    match event.payload:
        case RunComplete(session_id=session_id, message_id=message_id) if message_id:
            over = session_id
        case Session(id=session_id) if event.change == "deleted":
            over = session_id
        case _:
            return
    for name in [name for name, state in known.items() if message_of(state).session_id == over]:
        del known[name]
