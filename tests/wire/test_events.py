"""Events as bytes: the envelope, the table of types, and what is left out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import Message, Text, TextPart
from crush_trio.wire.events import (
    PAYLOADS,
    AgentEvent,
    ConfigChanged,
    Event,
    File,
    PermissionNotification,
    RunComplete,
    decode_event,
    message_event,
    run_complete_event,
    session_event,
)
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.sessions import Session

SAMPLES: dict[str, msgspec.Struct] = {
    "message": WireMessage((TextPart(Text("hi")),), "m", "user", "s"),
    "session": Session("s", title="New Session", cost=0.5),
    "file": File("f", "s", "/p/a", "text", 1, 2, 3),
    "permission_request": PermissionRequest("p", "s", "c", "bash", "d", "execute", {"a": 1}, "/p"),
    "permission_notification": PermissionNotification("c", granted=True, denied=False),
    "agent_event": AgentEvent(type="error", error="text", run_id="r", session_id="s"),
    "run_complete": RunComplete("s", "r", "m", "text", cancelled=True),
    "config_changed": ConfigChanged("w"),
}


def sent(event: Event) -> dict[str, Any]:
    """Return the JSON of an event's frame."""
    assert event.frame.startswith(b"data: ")
    assert event.frame.endswith(b"\n\n")
    assert event.frame.count(b"\n") == 2
    return json.loads(event.frame[6:])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_type_of_event_comes_back_as_it_went(name: str) -> None:
    """One ``data:`` line in two envelopes (wire contract 5.4)."""
    event = Event(name, "created", SAMPLES[name])
    assert isinstance(SAMPLES[name], PAYLOADS[name])
    assert sent(event)["type"] == name
    assert sent(event)["payload"]["type"] == "created"
    again = decode_event(event.frame[6:])
    assert again is not None
    assert (again.type, again.change, again.payload) == (name, "created", SAMPLES[name])
    assert again.frame == event.frame


def test_an_event_of_an_unknown_type_is_nothing() -> None:
    """A client ignores what it does not know; what is no event at all is an error."""
    assert decode_event('{"type":"new","payload":{"type":"created","payload":{}}}') is None
    with pytest.raises(msgspec.DecodeError):
        decode_event('{"type":"message"}')


def test_an_event_is_encoded_once() -> None:
    """However many streams send it."""
    event = session_event("updated", Session("s"))
    assert event.frame is event.frame


@pytest.mark.promise("S1", "S2")
def test_only_a_streaming_update_can_be_superseded() -> None:
    """A creation has no key, so nothing replaces it; an update that is no snapshot stays."""
    message = Message(MessageID("m"), SessionID("s"), "assistant")
    created = message_event("created", message)
    assert (created.message_id, created.streaming) == (None, False)
    snapshot = message_event("updated", message, streaming=True)
    assert (snapshot.message_id, snapshot.streaming) == ("m", True)
    final = message_event("updated", message)
    assert (final.message_id, final.streaming) == ("m", False)


def test_the_end_of_a_run_leaves_out_what_is_not_so() -> None:
    """Agent contract 1.4: text, error and cancelled only where there is any; message id always."""
    assert sent(run_complete_event(RunComplete("s", "r")))["payload"]["payload"] == {
        "session_id": "s",
        "run_id": "r",
        "message_id": "",
    }


def test_an_agents_event_always_has_a_message_with_parts() -> None:
    """Crush's client cannot do without (wire contract 5.5.1)."""
    payload = sent(Event("agent_event", "created", AgentEvent(type="agent_finished")))
    assert payload["payload"]["payload"]["message"]["parts"] == []
