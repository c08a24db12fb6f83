"""Crush's Go client as a reader: what it cannot decode, and what it would die of (wire contract 13).

Every reply and every event that passes through a world of the tests is held against this
(``world_kit.Traffic``). The shapes are written down here once more, from the contract and not from
our own structs: a mistake in those must not excuse itself.

Stricter than Go where Go is lenient for the worse: a key that the contract says is always there is
demanded, since a client that decodes a zero value instead draws nonsense.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

Check = Callable[[Any, str], Iterator[str]]
"""Yields what is wrong with a value at a place."""


# --- what a value may be -------------------------------------------------------------------


def text(value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{place}: {value!r} is no string"


def integer(value: Any, place: str) -> Iterator[str]:
    """Go takes neither ``1.0`` nor ``1e3`` for an integer."""
    if isinstance(value, bool) or not isinstance(value, int):
        yield f"{place}: {value!r} is no integer"


def number(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield f"{place}: {value!r} is no number"


def truth(value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{place}: {value!r} is no boolean"


def anything(value: Any, place: str) -> Iterator[str]:
    yield from ()


def binary(value: Any, place: str) -> Iterator[str]:
    try:
        base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        yield f"{place}: {value!r} is not base64"


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def time(value: Any, place: str) -> Iterator[str]:
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        yield f"{place}: {value!r} is no RFC 3339 time"


def one_of(*words: object) -> Check:
    def check(value: Any, place: str) -> Iterator[str]:
        if not any(value == word and type(value) is type(word) for word in words):
            yield f"{place}: {value!r} is none of {words}"

    return check


def maybe(inner: Check) -> Check:
    """Allow ``null``, which Go takes for nothing there."""
    return lambda value, place: iter(()) if value is None else inner(value, place)


def listed(item: Check) -> Check:
    """A list; ``null`` is one without elements, but no element may be ``null`` unless it says so."""

    def check(value: Any, place: str) -> Iterator[str]:
        if value is None:
            return
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
            return
        for index, each in enumerate(cast("list[Any]", value)):
            yield from item(each, f"{place}[{index}]")

    return check


def mapped(item: Check) -> Check:
    """An object with any keys; ``null`` in its place crashes the client."""

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is no object"
            return
        for name, each in cast("dict[str, Any]", value).items():
            yield from item(each, f"{place}.{name}")

    return check


def struct(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """An object with these keys; those that Go does not know are ignored."""
    known = required | (optional or {})

    def check(value: Any, place: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is no object"
            return
        given = cast("dict[str, Any]", value)
        for name in required.keys() - given.keys():
            yield f"{place}: {name!r} is missing"
        for name in known.keys() & given.keys():
            yield from known[name](given[name], f"{place}.{name}")

    return check


# --- messages (wire contract 6.1) ------------------------------------------------------------

PARTS: dict[str, Check] = {
    "text": struct({"text": text}),
    "reasoning": struct(
        {"thinking": text, "signature": text}, {"started_at": integer, "finished_at": integer}
    ),
    "image_url": struct({"url": text}, {"detail": text}),
    "binary": struct({"Path": text, "MIMEType": text, "Data": maybe(binary)}),
    "tool_call": struct(
        {"id": text, "name": text, "input": text}, {"type": text, "finished": truth}
    ),
    "tool_result": struct(
        {
            "tool_call_id": text,
            "name": text,
            "content": text,
            "metadata": text,
            "is_error": truth,
        },
        {"data": text, "mime_type": text},
    ),
    "finish": struct(
        {
            "reason": one_of(
                "stop",
                "end_turn",
                "max_tokens",
                "tool_use",
                "canceled",
                "error",
                "content_filter",
                "unknown",
            ),
            "time": integer,
        },
        {"message": text, "details": text},
    ),
    "shell_command": struct({"command": text, "output": text, "exit_code": integer}),
}


def part(value: Any, place: str) -> Iterator[str]:
    """A part of an unknown type lets the client refuse the whole message, and a whole list."""
    yield from struct({"type": text, "data": mapped(anything)})(value, place)
    if isinstance(value, dict):
        known = PARTS.get(str(cast("dict[str, Any]", value).get("type")))
        if known is None:
            yield f"{place}: unknown type of part"
        else:
            yield from known(cast("dict[str, Any]", value).get("data"), f"{place}.data")


MESSAGE = struct(
    {
        "parts": listed(part),
        "id": text,
        "role": one_of("user", "assistant", "tool", "system", ""),
        "session_id": text,
        "model": text,
        "provider": text,
        "created_at": integer,
        "updated_at": integer,
    },
    {"is_summary_message": truth},
)


# --- sessions, permissions, questions (3.8 to 3.17) -----------------------------------------------

TODO = struct(
    {
        "content": text,
        "status": one_of("pending", "in_progress", "completed"),
        "active_form": text,
    }
)
_SESSION = {
    "id": text,
    "parent_session_id": text,
    "title": text,
    "message_count": integer,
    "prompt_tokens": integer,
    "completion_tokens": integer,
    "summary_message_id": text,
    "cost": number,
    "created_at": integer,
    "updated_at": integer,
    "is_busy": truth,
    "attached_clients": integer,
}
SESSION = struct(_SESSION, {"todos": listed(TODO)})
IDLE_SESSION = struct(
    _SESSION | {"is_busy": one_of(False), "attached_clients": one_of(0)}, {"todos": listed(TODO)}
)
"""In events neither is ever filled (3.8)."""

FILE = struct(
    {
        "id": text,
        "session_id": text,
        "path": text,
        "content": text,
        "version": integer,
        "created_at": integer,
        "updated_at": integer,
    }
)
PERMISSION = struct(
    {
        "id": text,
        "session_id": text,
        "tool_call_id": text,
        "tool_name": text,
        "description": text,
        "action": text,
        "params": maybe(mapped(anything)),
        "path": text,
    }
)
CHOICE = struct({"id": text, "label": text}, {"description": text})
QUESTION = struct(
    {
        "id": text,
        "type": one_of("yes_no", "single_choice", "multi_choice", "free_text"),
        "question": text,
    },
    {"label": text, "description": text, "choices": listed(CHOICE)},
)
QUESTIONS = struct(
    {"id": text, "session_id": text, "tool_call_id": text, "questions": listed(QUESTION)},
    {"confirm_title": text, "confirm_description": text},
)


# --- configuration (3.3 to 3.7) ----------------------------------------------------------------

SELECTED = struct(
    {"model": text, "provider": text},
    {
        "reasoning_effort": text,
        "think": truth,
        "max_tokens": integer,
        "temperature": number,
        "top_p": number,
        "top_k": integer,
        "frequency_penalty": number,
        "presence_penalty": number,
        "provider_options": mapped(anything),
    },
)
MODEL = struct(
    {
        "id": text,
        "name": text,
        "cost_per_1m_in": number,
        "cost_per_1m_out": number,
        "cost_per_1m_in_cached": number,
        "cost_per_1m_out_cached": number,
        "context_window": integer,
        "default_max_tokens": integer,
        "can_reason": truth,
        "supports_attachments": truth,
    },
    {
        "reasoning_levels": listed(text),
        "default_reasoning_effort": text,
        "options": mapped(anything),
    },
)
TOKEN = struct(
    {"access_token": text, "expires_in": integer, "expires_at": integer},
    {
        "refresh_token": text,
        "client": struct(
            {},
            {
                "client_id": text,
                "client_secret": text,
                "auth_url": text,
                "token_url": text,
                "auth_style": integer,
            },
        ),
    },
)
MCP_CONFIG = struct(
    {"type": text},
    {
        "command": text,
        "env": mapped(text),
        "args": listed(text),
        "url": text,
        "disabled": truth,
        "disabled_tools": listed(text),
        "enabled_tools": listed(text),
        "timeout": integer,
        "headers": mapped(text),
        "oauth": truth,
        "oauth_client_id": text,
        "oauth_client_secret": text,
        "oauth_callback_port": integer,
        "oauth_token": TOKEN,
    },
)
LSP_CONFIG = struct(
    {},
    {
        "disabled": truth,
        "command": text,
        "args": listed(text),
        "env": mapped(text),
        "filetypes": listed(text),
        "root_markers": listed(text),
        "init_options": mapped(anything),
        "options": mapped(anything),
        "timeout": integer,
    },
)
PROVIDER_CONFIG = struct(
    {},
    {
        "oauth": TOKEN,
        "id": text,
        "name": text,
        "base_url": text,
        "type": text,
        "api_key": text,
        "disable": truth,
        "system_prompt_prefix": text,
        "extra_headers": mapped(text),
        "extra_body": mapped(anything),
        "provider_options": mapped(anything),
        "aws_auth_refresh": text,
        "flat_rate": truth,
        "discover_models": truth,
        "models": listed(MODEL),
    },
)
PROVIDER = struct(
    {"name": text, "id": text},
    {
        "api_key": text,
        "api_endpoint": text,
        "type": text,
        "default_large_model_id": text,
        "default_small_model_id": text,
        "models": listed(MODEL),
        "default_headers": mapped(text),
    },
)
TUI = struct(
    {},
    {
        "compact_mode": truth,
        "diff_mode": text,
        "completions": struct({}, {"max_depth": integer, "max_items": integer}),
        "transparent": truth,
        "scrollbar": text,
    },
)
OPTIONS = struct(
    {"tui": TUI, "data_directory": text},
    {
        "context_paths": listed(text),
        "global_context_paths": listed(text),
        "skills_paths": listed(text),
        "debug": truth,
        "debug_lsp": truth,
        "disable_auto_summarize": truth,
        "disabled_tools": listed(text),
        "disable_provider_auto_update": truth,
        "disable_default_providers": truth,
        "disable_metrics": truth,
        "initialize_as": text,
        "auto_lsp": truth,
        "progress": truth,
        "notifications": text,
        "disabled_skills": listed(text),
        "attribution": struct(
            {}, {"trailer_style": text, "co_authored_by": truth, "generated_with": truth}
        ),
    },
)
_TIMEOUT = struct({}, {"timeout": integer})
CONFIG = struct(
    {"providers": mapped(PROVIDER_CONFIG), "options": OPTIONS},
    {
        "$schema": text,
        "models": mapped(SELECTED),
        "recent_models": mapped(listed(SELECTED)),
        "mcp": mapped(MCP_CONFIG),
        "lsp": mapped(LSP_CONFIG),
        "permissions": struct({}, {"allowed_tools": listed(text)}),
        "tools": struct(
            {},
            {
                "ls": struct({}, {"max_depth": integer, "max_items": integer}),
                "grep": _TIMEOUT,
                "glob": _TIMEOUT,
            },
        ),
        "hooks": mapped(
            listed(struct({"command": text}, {"name": text, "matcher": text, "timeout": integer}))
        ),
        "env": mapped(text),
    },
)
SKILL_STATE = struct({"name": text, "path": text, "state": one_of(0, 1)}, {"error": text})
WORKSPACE = struct(
    {"id": text, "path": text, "config": CONFIG, "data_dir": text, "version": text},
    {
        "yolo": truth,
        "debug": truth,
        "env": listed(text),
        "channels": listed(text),
        "skills": listed(SKILL_STATE),
    },
)
AGENT = struct({"is_busy": truth, "is_ready": truth, "model": MODEL, "model_cfg": SELECTED})
MCP_STATE = one_of("disabled", "starting", "connected", "error", "needs auth")
_COUNTS: dict[str, Check] = {
    "error": text,
    "tool_count": integer,
    "prompt_count": integer,
    "resource_count": integer,
}
MCP = struct({"name": text, "state": MCP_STATE}, _COUNTS | {"connected_at": maybe(time)})
LSP_STATE = one_of(0, 1, 2, 3, 4, 5)
LSP = struct(
    {"name": text, "state": LSP_STATE},
    {"error": text, "diagnostic_count": integer, "connected_at": maybe(time)},
)
DIAGNOSTIC = struct({"range": mapped(mapped(integer))}, {"severity": integer, "message": text})
MCP_PROMPT = struct(
    {"id": text, "prompt_id": text, "client_id": text},
    {"title": text, "description": text, "arguments": listed(mapped(anything))},
)
SKILL = struct(
    {
        "id": text,
        "name": text,
        "description": text,
        "label": text,
        "source": one_of("system", "user", "project"),
        "user_invocable": truth,
    }
)
RESOLVED = struct({"resolved": truth})
ERROR = struct({"message": text})
RUN = struct({"run_id": text, "session_id": text})
RECEIPT = struct(
    {"runs": listed(struct({"run_id": text, "outcome": maybe(text)})), "settled": truth}
)


# --- replies (wire contract 4) ----------------------------------------------------------------

_W = "/v1/workspaces/*"
REPLIES: dict[str, Check | None] = {
    "GET /v1/health": None,
    "GET /v1/version": struct(
        dict.fromkeys(("version", "commit", "build_id", "go_version", "platform"), text)
    ),
    "GET /v1/config": mapped(anything),
    "POST /v1/control": None,
    "DELETE /v1/clients/*": None,
    "GET /v1/workspaces": listed(WORKSPACE),
    "POST /v1/workspaces": WORKSPACE,
    f"GET {_W}": WORKSPACE,
    f"DELETE {_W}": None,
    f"POST {_W}/current-session": None,
    f"GET {_W}/config": CONFIG,
    f"GET {_W}/providers": listed(PROVIDER),
    f"GET {_W}/sessions": listed(SESSION),
    f"POST {_W}/sessions": SESSION,
    f"GET {_W}/sessions/*": SESSION,
    f"PUT {_W}/sessions/*": SESSION,
    f"DELETE {_W}/sessions/*": None,
    f"GET {_W}/sessions/*/history": listed(FILE),
    f"GET {_W}/sessions/*/messages": listed(MESSAGE),
    f"GET {_W}/sessions/*/messages/user": listed(MESSAGE),
    f"GET {_W}/messages/user": listed(MESSAGE),
    f"GET {_W}/sessions/*/filetracker/files": listed(text),
    f"POST {_W}/filetracker/read": None,
    f"GET {_W}/filetracker/lastread": time,
    f"GET {_W}/lsps": mapped(LSP),
    f"GET {_W}/lsps/*/diagnostics": mapped(listed(DIAGNOSTIC)),
    f"POST {_W}/lsps/start": None,
    f"POST {_W}/lsps/stop": None,
    f"GET {_W}/permissions/skip": struct({"skip": truth}),
    f"POST {_W}/permissions/skip": None,
    f"POST {_W}/permissions/grant": RESOLVED,
    f"POST {_W}/questions/answer": RESOLVED,
    f"POST {_W}/questions/cancel": RESOLVED,
    f"GET {_W}/agent": AGENT,
    f"POST {_W}/agent": RUN,
    f"POST {_W}/agent/init": None,
    f"POST {_W}/agent/update": None,
    f"GET {_W}/agent/sessions/*": SESSION,
    f"POST {_W}/agent/sessions/*/cancel": RECEIPT,
    f"GET {_W}/agent/sessions/*/prompts/queued": integer,
    f"GET {_W}/agent/sessions/*/prompts/list": listed(text),
    f"POST {_W}/agent/sessions/*/prompts/clear": None,
    f"POST {_W}/agent/sessions/*/summarize": None,
    f"POST {_W}/agent/sessions/*/shell": struct({"output": text, "exit_code": integer}),
    f"GET {_W}/agent/default-small-model": SELECTED,
    f"POST {_W}/config/set": None,
    f"POST {_W}/config/remove": None,
    f"POST {_W}/config/model": None,
    f"POST {_W}/config/compact": None,
    f"POST {_W}/config/provider-key": None,
    f"POST {_W}/config/import-copilot": struct({"token": maybe(TOKEN), "success": truth}),
    f"POST {_W}/config/refresh-oauth": None,
    f"GET {_W}/project/needs-init": struct({"needs_init": truth}),
    f"POST {_W}/project/init": None,
    f"GET {_W}/project/init-prompt": struct({"prompt": text}),
    f"GET {_W}/skills": listed(SKILL),
    f"POST {_W}/skills/read": struct(
        {
            "content": binary,
            "result": struct({"name": text, "description": text, "source": text, "builtin": truth}),
        }
    ),
    f"POST {_W}/mcp/refresh-tools": None,
    f"POST {_W}/mcp/read-resource": listed(struct({"uri": text}, {"text": text, "blob": binary})),
    f"GET {_W}/mcp/prompts": listed(MCP_PROMPT),
    f"POST {_W}/mcp/get-prompt": struct({"prompt": text}),
    f"GET {_W}/mcp/states": mapped(MCP),
    f"GET {_W}/mcp/pending-auth": listed(struct({"name": text, "url": text})),
    f"GET {_W}/mcp/auth-url": struct({}, {"auth_url": text}),
    f"POST {_W}/mcp/auth": mapped(anything),
    f"POST {_W}/mcp/refresh-prompts": None,
    f"POST {_W}/mcp/refresh-resources": None,
    f"POST {_W}/mcp/docker/enable": None,
    f"POST {_W}/mcp/docker/disable": None,
}
"""Method and path of each route to what it answers with 200; None for an empty body."""

_PATTERNS = {
    re.compile(re.escape(route).replace(r"\*", "[^/]+")): check for route, check in REPLIES.items()
}


def reply_problems(method: str, path: str, status: int, body: bytes) -> list[str]:
    """Return what the client could not read of a reply; nothing is known of routes of our own."""
    place = f"{method} {path} {status}"
    if status >= 400:
        is_json = body.startswith(b"{")
        return _problems(ERROR, body, place) if is_json else []
    found = [check for route, check in _PATTERNS.items() if route.fullmatch(f"{method} {path}")]
    if not found or status >= 300 or (status == 202 and not body):
        return []
    if found[0] is None:
        return [f"{place}: {body!r} where nothing is expected"] if body else []
    return _problems(found[0], body, place)


def _problems(check: Check, body: bytes, place: str) -> list[str]:
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except ValueError as error:
        return [f"{place}: not JSON: {error}"]
    return list(check(value, place))


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


# --- events (wire contract 5.5) ------------------------------------------------------------------

EVENTS: dict[str, tuple[tuple[str, ...], Check]] = {
    "message": (("created", "updated", "deleted"), MESSAGE),
    "session": (("created", "updated", "deleted"), IDLE_SESSION),
    "file": (("created", "deleted"), FILE),
    "permission_request": (("created",), PERMISSION),
    "permission_notification": (
        ("created",),
        struct({"tool_call_id": text, "granted": truth, "denied": truth}),
    ),
    "question_batch_request": (("created",), QUESTIONS),
    "question_batch_notification": (("created",), struct({"batch_id": text})),
    "agent_event": (
        ("created",),
        struct(
            {
                "type": one_of(
                    "agent_finished",
                    "error",
                    "re_authenticate",
                    "aws_sso_auth",
                    "aws_sso_auth_result",
                )
            },
            {
                "error": text,
                "message": MESSAGE,
                "run_id": text,
                "session_id": text,
                "session_title": text,
                "provider_id": text,  # ours, which the client passes over (agent contract 1.22)
                "aws_sso_command": text,
                "aws_sso_url": text,
            },
        ),
    ),
    "run_complete": (
        ("updated",),
        struct(
            {"session_id": text, "message_id": text},
            {"run_id": text, "text": text, "error": text, "cancelled": truth},
        ),
    ),
    "config_changed": (("updated",), struct({"workspace_id": text})),
    "lsp_event": (
        ("updated",),
        struct(
            {
                "type": one_of("state_changed", "diagnostics_changed"),
                "name": text,
                "state": LSP_STATE,
            },
            {"error": text, "diagnostic_count": integer},
        ),
    ),
    "mcp_event": (
        ("updated",),
        struct(
            {
                "type": one_of(
                    "state_changed",
                    "tools_list_changed",
                    "prompts_list_changed",
                    "resources_list_changed",
                ),
                "name": text,
                "state": MCP_STATE,
            },
            _COUNTS,
        ),
    ),
    "skills_event": (("updated",), struct({"states": listed(SKILL_STATE)})),
    "update_available": (
        ("updated",),
        struct({"current_version": text, "latest_version": text, "is_development": truth}),
    ),
}
"""Outer type to the inner types that occur with it, and the payload."""

OURS = {"hello", "too_old", "message_delta"}
"""Types that only a stream gets which asked for them (wire contract 0)."""


def event_problems(line: bytes) -> list[str]:
    """Return what the client could not read of the JSON of one ``data:`` line."""
    envelope = struct({"type": text, "payload": struct({"type": text, "payload": anything})})
    found = _problems(envelope, line, "event")
    if found:
        return found
    outer = json.loads(line)
    if outer["type"] in OURS:
        return []
    known = EVENTS.get(outer["type"])
    if known is None:
        return [f"event: the client does not know the type {outer['type']!r}"]
    changes, check = known
    place, change = f"event {outer['type']}", outer["payload"]["type"]
    problems = [] if change in changes else [f"{place}: {change!r} does not occur with it"]
    return [*problems, *check(outer["payload"]["payload"], place)]


class StrictReader:
    """Reads what the application sends in answer to one request, as the client would.

    Attributes:
        problems: What it could not read.
        types: The types of the events that it read.
    """

    def __init__(self, method: str, path: str) -> None:
        self._method = method
        self._path = path
        self._status = 0
        self._is_stream = False
        self._body = b""
        self.problems: list[str] = []
        self.types: set[str] = set()

    def take(self, message: Any) -> None:
        """Read one ASGI message of the answer."""
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            kinds = [value for name, value in message["headers"] if name == b"content-type"]
            self._is_stream = b"text/event-stream" in kinds
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if self._is_stream:
                self._take_lines()
            elif not message.get("more_body", False) and self._method != "HEAD":
                self.problems += reply_problems(self._method, self._path, self._status, self._body)

    def _take_lines(self) -> None:
        *lines, self._body = self._body.split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data = line.removeprefix(b"data:").strip()
                self.problems += event_problems(data)
                self.types.add(json.loads(data).get("type", ""))
