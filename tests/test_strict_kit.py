"""The strict reader refuses what would crash Crush's Go client (wire contract 13)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from crush_trio.wire.events import (
    PAYLOADS,
    AgentEvent,
    ConfigChanged,
    Event,
    File,
    LSPEvent,
    MCPEvent,
    PermissionNotification,
    QuestionNotification,
    RunComplete,
    SkillsEvent,
    UpdateAvailable,
)
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import Choice, QuestionItem, QuestionRequest
from crush_trio.wire.sessions import Session, Todo
from crush_trio.wire.skills import SkillState
from strict_kit import EVENTS, OURS, event_problems, reply_problems

ITEM = QuestionItem(
    id="q1",
    type="single_choice",
    label="DB",
    question="Which database?",
    description="Pick one.",
    choices=(
        Choice(id="pg", label="PostgreSQL"),
        Choice(id="sq", label="SQLite", description="file based"),
    ),
)
EMPTY = (
    '"message":{"parts":[],"id":"","role":"","session_id":"","model":"","provider":"",'
    '"created_at":0,"updated_at":0}'
)

PRINTED: list[tuple[str, str, msgspec.Struct, str]] = [
    (
        "message",
        "created",
        WireMessage((), "m1", "assistant", "s1", "gpt-5", "openai", 1754000000, 1754000000),
        (
            '{"parts":[],"id":"m1","role":"assistant","session_id":"s1","model":"gpt-5",'
            '"provider":"openai","created_at":1754000000,"updated_at":1754000000}'
        ),
    ),
    (
        "session",
        "updated",
        Session(
            "s1", "", "Fix the parser", 4, 10421, 233, "", 0.0412, (Todo("c", "pending", "a"),)
        ),
        (
            '{"id":"s1","parent_session_id":"","title":"Fix the parser","message_count":4,'
            '"prompt_tokens":10421,"completion_tokens":233,"summary_message_id":"","cost":0.0412,'
            '"todos":[{"content":"c","status":"pending","active_form":"a"}],"created_at":0,'
            '"updated_at":0,"is_busy":false,"attached_clients":0}'
        ),
    ),
    (
        "file",
        "created",
        File("f1", "s1", "/p/main.go", "package main\n", 1, 1754000001, 1754000001),
        (
            '{"id":"f1","session_id":"s1","path":"/p/main.go","content":"package main\\n","version":1,'
            '"created_at":1754000001,"updated_at":1754000001}'
        ),
    ),
    (
        "permission_request",
        "created",
        PermissionRequest("p1", "s1", "call_1", "bash", "Execute command: ls", "execute", {}, "/p"),
        (
            '{"id":"p1","session_id":"s1","tool_call_id":"call_1","tool_name":"bash",'
            '"description":"Execute command: ls","action":"execute","params":{},"path":"/p"}'
        ),
    ),
    (
        "permission_notification",
        "created",
        PermissionNotification("call_1", granted=True, denied=False),
        '{"tool_call_id":"call_1","granted":true,"denied":false}',
    ),
    (
        "question_batch_request",
        "created",
        QuestionRequest(
            id="b1",
            session_id="s1",
            tool_call_id="call_2",
            questions=(
                ITEM,
                QuestionItem(
                    id="q2", type="yes_no", question="Add tests?", description="Unit tests."
                ),
            ),
            confirm_title="Ready to go?",
            confirm_description="Review your answers above and confirm.",
        ),
        (
            '{"id":"b1","session_id":"s1","tool_call_id":"call_2","questions":[{"id":"q1",'
            '"type":"single_choice","label":"DB","question":"Which database?","description":"Pick one.",'
            '"choices":[{"id":"pg","label":"PostgreSQL"},{"id":"sq","label":"SQLite",'
            '"description":"file based"}]},{"id":"q2","type":"yes_no","question":"Add tests?",'
            '"description":"Unit tests."}],"confirm_title":"Ready to go?",'
            '"confirm_description":"Review your answers above and confirm."}'
        ),
    ),
    (
        "question_batch_notification",
        "created",
        QuestionNotification("b1"),
        '{"batch_id":"b1"}',
    ),
    (
        "agent_event",
        "created",
        AgentEvent(type="agent_finished", session_id="s1", session_title="Fix the parser"),
        f'{{"type":"agent_finished",{EMPTY},"session_id":"s1","session_title":"Fix the parser"}}',
    ),
    (
        "agent_event",
        "created",
        AgentEvent(type="error", error="rate limited", run_id="r1", session_id="s1"),
        f'{{"error":"rate limited","type":"error",{EMPTY},"run_id":"r1","session_id":"s1"}}',
    ),
    (
        "run_complete",
        "updated",
        RunComplete("s1", "r1", "m4", "Partial", "context canceled", cancelled=True),
        (
            '{"session_id":"s1","run_id":"r1","message_id":"m4","text":"Partial",'
            '"error":"context canceled","cancelled":true}'
        ),
    ),
    (
        "run_complete",
        "updated",
        RunComplete("s1", "r1", cancelled=True),
        '{"session_id":"s1","run_id":"r1","message_id":"","cancelled":true}',
    ),
    ("config_changed", "updated", ConfigChanged("5b0c"), '{"workspace_id":"5b0c"}'),
    (
        "lsp_event",
        "updated",
        LSPEvent(
            error="exit 1", type="diagnostics_changed", name="gopls", state=3, diagnostic_count=2
        ),
        (
            '{"error":"exit 1","type":"diagnostics_changed","name":"gopls","state":3,'
            '"diagnostic_count":2}'
        ),
    ),
    (
        "mcp_event",
        "updated",
        MCPEvent(type="state_changed", name="docs", state="connected", tool_count=4),
        '{"type":"state_changed","name":"docs","state":"connected","tool_count":4}',
    ),
    (
        "skills_event",
        "updated",
        SkillsEvent((SkillState("jq", "crush://skills/jq/SKILL.md", 0),)),
        '{"states":[{"name":"jq","path":"crush://skills/jq/SKILL.md","state":0}]}',
    ),
    ("skills_event", "updated", SkillsEvent(None), '{"states":null}'),
    (
        "update_available",
        "updated",
        UpdateAvailable("0.90.0", "0.91.0", is_development=False),
        '{"current_version":"0.90.0","latest_version":"0.91.0","is_development":false}',
    ),
]
"""What the contract prints of each event (5.5.1), and what prints it here."""


@pytest.mark.parametrize(
    ("outer", "change", "payload", "printed"), PRINTED, ids=[each[0] for each in PRINTED]
)
def test_5_5_an_event_is_printed_as_crush_prints_it(
    outer: str, change: Any, payload: msgspec.Struct, printed: str
) -> None:
    """To the byte, keys in their order, and readable to the strict reader (wire contract 5.5.1)."""
    frame = Event(outer, change, payload).frame
    line = f'{{"type":"{outer}","payload":{{"type":"{change}","payload":{printed}}}}}'
    assert frame == f"data: {line}\n\n".encode()
    assert event_problems(line.encode()) == []
    assert msgspec.json.decode(printed, type=PAYLOADS[outer]) == payload


def test_5_5_every_type_is_printed_and_known() -> None:
    """The fourteen of the contract and the three of ours."""
    assert len(EVENTS) == 14
    assert {each[0] for each in PRINTED} == EVENTS.keys()
    assert PAYLOADS.keys() == EVENTS.keys() | OURS


# --- the traps (wire contract 13) ---------------------------------------------------------------

_MESSAGE: dict[str, Any] = json.loads(PRINTED[0][3])
_SESSION: dict[str, Any] = json.loads(PRINTED[1][3])


def event(outer: str, payload: Any, change: str = "created") -> bytes:
    return json.dumps({"type": outer, "payload": {"type": change, "payload": payload}}).encode()


TRAPS: dict[str, bytes] = {
    "a message that is null": event("message", None),
    "an agent event that is null": event("agent_event", None),
    "a permission request that is null": event("permission_request", None),
    "a null as the message of an agent event": event(
        "agent_event", {"type": "agent_finished", "message": None}
    ),
    "a message without parts": event(
        "message", {name: value for name, value in _MESSAGE.items() if name != "parts"}
    ),
    "an agent event's message without parts": event(
        "agent_event", {"type": "error", "message": {"id": ""}}
    ),
    "a part of an unknown type": event(
        "message", _MESSAGE | {"parts": [{"type": "video", "data": {}}]}
    ),
    "a float for an integer": event("message", _MESSAGE | {"created_at": 1754000000.0}),
    "an exponent for an integer": b'{"type":"session","payload":{"type":"updated","payload":'
    + json.dumps(_SESSION).replace("10421", "1e4").encode()
    + b"}}",
    "a tool call's input that is an object": event(
        "message",
        _MESSAGE
        | {"parts": [{"type": "tool_call", "data": {"id": "c", "name": "x", "input": {}}}]},
    ),
    "data that is not base64": event(
        "message",
        _MESSAGE
        | {"parts": [{"type": "binary", "data": {"Path": "", "MIMEType": "", "Data": "%"}}]},
    ),
    "an MCP state that is a number": event(
        "mcp_event", {"type": "state_changed", "name": "x", "state": 1}, "updated"
    ),
    "an unknown MCP state": event(
        "mcp_event", {"type": "state_changed", "name": "x", "state": "asleep"}, "updated"
    ),
    "an LSP state that is a word": event(
        "lsp_event", {"type": "state_changed", "name": "x", "state": "ready"}, "updated"
    ),
    "params that are text": event(
        "permission_request", json.loads(PRINTED[3][3]) | {"params": "{}"}
    ),
    "a session that is busy": event("session", _SESSION | {"is_busy": True}, "updated"),
    "a session that is null": event("session", None),
    "no payload": b'{"type":"message"}',
    "an unknown type": event("question_request", {}),
    "a change that does not occur": event("run_complete", {"session_id": "", "message_id": ""}),
    "half of an event": b'{"type":"mess',
    "no number": b'{"type":"config_changed","payload":{"type":"updated","payload":NaN}}',
}


@pytest.mark.parametrize("line", TRAPS.values(), ids=TRAPS.keys())
def test_13_a_trap_in_an_event_is_seen(line: bytes) -> None:
    """The client would crash, or process an event that is half empty (wire contract 13)."""
    assert event_problems(line) != []


_CONFIG: dict[str, Any] = {"providers": {}, "options": {"tui": {}, "data_directory": "/p/.crush"}}
_WORKSPACE: dict[str, Any] = {
    "id": "w",
    "path": "/p",
    "data_dir": "/p/.crush",
    "version": "1",
    "config": _CONFIG,
}
_W = "/v1/workspaces/w1"

REPLY_TRAPS: dict[str, tuple[str, Any]] = {
    "a null in a list of messages": (f"GET {_W}/sessions/s/messages", [None]),
    "a null in a map of language servers": (f"GET {_W}/lsps", {"gopls": None}),
    "a null in a map of MCP servers": (f"GET {_W}/mcp/states", {"x": None}),
    "a connected_at that is empty": (
        f"GET {_W}/mcp/states",
        {"x": {"name": "x", "state": "error", "connected_at": ""}},
    ),
    "a workspace that is null": ("POST /v1/workspaces", None),
    "a workspace without config": (
        "POST /v1/workspaces",
        {name: value for name, value in _WORKSPACE.items() if name != "config"},
    ),
    "providers that are null": (f"GET {_W}/config", _CONFIG | {"providers": None}),
    "providers that are a list": (f"GET {_W}/config", _CONFIG | {"providers": []}),
    "a config without options": (f"GET {_W}/config", {"providers": {}}),
    "options that are null": (f"GET {_W}/config", _CONFIG | {"options": None}),
    "options without tui": (f"GET {_W}/config", _CONFIG | {"options": {"data_directory": "/p"}}),
    "a float for an integer": (f"GET {_W}/agent/sessions/s/prompts/queued", 2.0),
    "an answer where none is expected": ("GET /v1/health", {}),
}


@pytest.mark.parametrize(("route", "value"), REPLY_TRAPS.values(), ids=REPLY_TRAPS.keys())
def test_13_a_trap_in_a_reply_is_seen(route: str, value: Any) -> None:
    """The client would die of it, or refuse the reply (wire contract 13)."""
    method, path = route.split()
    assert reply_problems(method, path, 200, json.dumps(value).encode()) != []


def test_13_what_the_client_reads_is_not_complained_of() -> None:
    """Null for a list, unknown keys, an empty body where a prompt was accepted."""
    good: list[tuple[str, int, bytes]] = [
        ("POST /v1/workspaces", 200, json.dumps(_WORKSPACE | {"new": 1}).encode()),
        (f"GET {_W}/agent/sessions/s/prompts/list", 200, b"null\n"),
        (f"GET {_W}/sessions/s/messages", 200, b"[]\n"),
        (f"POST {_W}/agent", 202, b""),
        (f"GET {_W}/nothing", 404, b"404 page not found\n"),
        (f"GET {_W}/agent", 404, b'{"message":"workspace not found"}\n'),
        ("GET /v1/openapi.json", 200, b"{}"),
    ]
    for route, status, body in good:
        method, path = route.split()
        assert reply_problems(method, path, status, body) == []
    assert reply_problems("GET", f"{_W}/agent", 404, b'{"error":"x"}') != []
