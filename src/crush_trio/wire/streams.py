"""What a stream that asked for ids or deltas gets beyond Crush's events (wire contract 0, S5).

No stream that asked for nothing ever meets these types. ``docs/wire.md`` is the reader's side.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import QuestionRequest


class OpenRun(msgspec.Struct, frozen=True):
    """A run that has not settled. Its ``run_complete`` will come on the stream that names it."""

    run_id: str
    session_id: str
    state: Literal["active", "queued"]


class Hello(msgspec.Struct, frozen=True):
    """The first event of a stream with ids: the state just behind the event ``last_id``."""

    last_id: int
    runs: tuple[OpenRun, ...] = ()
    permissions: tuple[PermissionRequest, ...] = ()
    questions: tuple[QuestionRequest, ...] = ()


class TooOld(msgspec.Struct, frozen=True):
    """Events were missed that the log does not hold any more: read the state again.

    The log holds ``oldest_id`` and what came behind it; ``last_id`` is the newest event.
    """

    oldest_id: int
    last_id: int


class MessageDelta(msgspec.Struct, frozen=True):
    """Text that continues a text or reasoning part, from character ``offset`` on."""

    message_id: str
    session_id: str
    part: int
    offset: int
    text: str
