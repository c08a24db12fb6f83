"""Events: the table of payload types and the bytes of one event (wire contract 5).

An event is encoded once, when it is first needed, however many streams send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import msgspec

from crush_trio.messages import Message
from crush_trio.wire.mcp import MCPState
from crush_trio.wire.messages import WireMessage, wire_message
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import QuestionRequest
from crush_trio.wire.sessions import Session
from crush_trio.wire.skills import SkillState
from crush_trio.wire.streams import Hello, MessageDelta, TooOld

Change = Literal["created", "updated", "deleted"]


class PermissionNotification(msgspec.Struct, frozen=True):
    """Both false: asked, still open. Granted or denied: decided, or withdrawn."""

    tool_call_id: str
    granted: bool
    denied: bool


class QuestionNotification(msgspec.Struct, frozen=True):
    """A batch of questions is open no more: answered, refused or withdrawn."""

    batch_id: str


class AgentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A notification of the agent (wire contract 5.5.1). ``message`` must hold ``parts``."""

    error: str | msgspec.UnsetType = msgspec.UNSET
    type: Literal["agent_finished", "error", "re_authenticate"]
    message: WireMessage = WireMessage()
    run_id: str | msgspec.UnsetType = msgspec.UNSET
    session_id: str | msgspec.UnsetType = msgspec.UNSET
    session_title: str | msgspec.UnsetType = msgspec.UNSET
    provider_id: str | msgspec.UnsetType = msgspec.UNSET  # ours: Crush's has no such key


class RunComplete(msgspec.Struct, frozen=True):
    """The end of a run, sent exactly once (R8)."""

    session_id: str
    run_id: str
    message_id: str = ""
    text: str | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    cancelled: bool | msgspec.UnsetType = msgspec.UNSET


class File(msgspec.Struct, frozen=True):
    """One version of a file that a tool changed (wire contract 3.11)."""

    id: str
    session_id: str
    path: str
    content: str
    version: int
    created_at: int
    updated_at: int


class LSPEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A language server's state or its diagnostics changed; ``state`` is a number (wire 3.12)."""

    error: str = ""
    type: Literal["state_changed", "diagnostics_changed"]
    name: str
    state: int
    diagnostic_count: int = 0


class MCPEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An MCP server's state or one of its lists changed (wire contract 5.5.1)."""

    error: str = ""
    type: Literal[
        "state_changed", "tools_list_changed", "prompts_list_changed", "resources_list_changed"
    ]
    name: str
    state: MCPState
    tool_count: int = 0
    prompt_count: int = 0
    resource_count: int = 0


class SkillsEvent(msgspec.Struct, frozen=True):
    """The skills that were found."""

    states: tuple[SkillState, ...] | None


class UpdateAvailable(msgspec.Struct, frozen=True):
    """There is a newer version."""

    current_version: str
    latest_version: str
    is_development: bool


class ConfigChanged(msgspec.Struct, frozen=True):
    """The configuration changed; clients read it again."""

    workspace_id: str


PAYLOADS: dict[str, type[msgspec.Struct]] = {
    "message": WireMessage,
    "session": Session,
    "file": File,
    "permission_request": PermissionRequest,
    "permission_notification": PermissionNotification,
    "question_batch_request": QuestionRequest,
    "question_batch_notification": QuestionNotification,
    "agent_event": AgentEvent,
    "run_complete": RunComplete,
    "config_changed": ConfigChanged,
    "lsp_event": LSPEvent,
    "mcp_event": MCPEvent,
    "skills_event": SkillsEvent,
    "update_available": UpdateAvailable,
    "hello": Hello,
    "too_old": TooOld,
    "message_delta": MessageDelta,
}
"""Outer type to payload. A client ignores types that it does not know."""

_ENCODER = msgspec.json.Encoder()


class Event:
    """One event, encoded when its frame is first asked for.

    Attributes:
        type: The outer type, which selects the payload's schema.
        change: The kind of change.
        payload: The payload.
        message_id: Whose snapshots this update makes worthless, or None.
        streaming: Whether a later update of the same message makes this one worthless.
        continuations: The frames that :mod:`crush_trio.wire.deltas` has made of this event, for
            readers whose last state of the message was the event that is the key.
    """

    __slots__ = (
        "__weakref__",
        "_frame",
        "change",
        "continuations",
        "message_id",
        "payload",
        "streaming",
        "type",
    )

    def __init__(
        self,
        type_: str,
        change: Change,
        payload: msgspec.Struct,
        *,
        message_id: str | None = None,
        streaming: bool = False,
    ) -> None:
        self.type = type_
        self.change: Change = change
        self.payload = payload
        self.message_id = message_id
        self.streaming = streaming
        self.continuations: WeakKeyDictionary[Event, tuple[bytes, ...]] | None = None
        self._frame: bytes | None = None

    def __repr__(self) -> str:
        return f"<Event {self.type} {self.change} {self.payload!r}>"

    @property
    def frame(self) -> bytes:
        """The bytes of this event on a stream: one ``data:`` line and an empty one."""
        if self._frame is None:
            head = f'data: {{"type":"{self.type}","payload":{{"type":"{self.change}","payload":'
            self._frame = head.encode() + _ENCODER.encode(self.payload) + b"}}\n\n"
        return self._frame


def message_event(change: Change, message: Message, *, streaming: bool = False) -> Event:
    """Return the event of a message; a streaming update may be superseded by the next one."""
    key = message.id if change == "updated" else None
    return Event("message", change, wire_message(message), message_id=key, streaming=streaming)


def session_event(change: Change, session: Session) -> Event:
    """Return the event of a session; busy state and presence are never filled in events."""
    return Event("session", change, session)


def run_complete_event(payload: RunComplete) -> Event:
    """Return the terminal event of a run."""
    return Event("run_complete", "updated", payload)


class _Inner(msgspec.Struct, frozen=True):
    type: Change
    payload: msgspec.Raw


class _Outer(msgspec.Struct, frozen=True):
    type: str
    payload: _Inner


_OUTER = msgspec.json.Decoder(_Outer)
DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(struct) for name, struct in PAYLOADS.items()
}
"""Outer type to what decodes its payload."""


def decode_event(
    data: bytes | str, decoders: Mapping[str, msgspec.json.Decoder[Any]] = DECODERS
) -> Event | None:
    """Return the event of one ``data:`` line's JSON, or None if ``decoders`` has not its type.

    Raises:
        msgspec.DecodeError: the line is not an event.
    """
    outer = _OUTER.decode(data)
    decoder = decoders.get(outer.type)
    if decoder is None:
        return None
    return Event(outer.type, outer.payload.type, decoder.decode(outer.payload.payload))
