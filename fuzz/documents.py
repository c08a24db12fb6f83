"""Whole requests at every route of the application: what is wrong is in their JSON or their query."""

from __future__ import annotations

import json
import math
import os
import random
from typing import Any, cast
from urllib.parse import quote

import attrs

from crush_trio.errors import BadRequestError
from crush_trio.server.app import make_app
from crush_trio.server.body import decode_body
from crush_trio.settings import Settings
from crush_trio.wire.changes import RemoveField
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces import WorkspaceHost
from mutation import mutate

W, S, C, DIR = "@W@", "@S@", "@C@", "@DIR@"
"""What stands for the worker's workspace, session, client and directory."""

CREATE = {"path": f"{DIR}/other", "client_id": C, "version": "0.76.0", "env": ["A=b"], "yolo": True}
PROMPT = {
    "session_id": S,
    "prompt": "hello",
    "run_id": "r1",
    "attachments": [{"content": "aGk=", "file_path": "a.txt", "mime_type": "text/plain"}],
    "interactive": True,
}
SESSION = {
    "id": S,
    "title": "T",
    "cost": 0.5,
    "todos": [{"content": "c", "status": "pending", "active_form": "a"}],
}
GRANT = {"action": "allow", "permission": {"id": "p", "session_id": S, "params": {"a": [1]}}}

MODEL = {"provider": "scripted", "model": "m"}
KEY = {"kind": "string", "api_key": "k"}

_W = f"/v1/workspaces/{W}"
_RUNS = f"{_W}/agent/sessions/{S}"

ROUTES: tuple[tuple[str, str, object], ...] = (
    ("GET", "/v1/health", None),
    ("GET", "/v1/version", None),
    ("GET", "/v1/config", None),
    ("POST", "/v1/control", {"command": "shutdown_if_idle"}),
    ("DELETE", f"/v1/clients/{C}", None),
    ("GET", "/v1/workspaces", None),
    ("POST", "/v1/workspaces", CREATE),
    ("GET", _W, None),
    ("DELETE", f"{_W}?client_id={C}", None),
    ("GET", f"{_W}/config", None),
    ("GET", f"{_W}/events?client_id={C}&ids=1&after=3&deltas=1", None),
    ("POST", f"{_W}/current-session?client_id={C}", {"session_id": S}),
    ("GET", f"{_W}/sessions", None),
    ("POST", f"{_W}/sessions", {"title": "another"}),
    ("GET", f"{_W}/sessions/{S}", None),
    ("PUT", f"{_W}/sessions/{S}", SESSION),
    ("DELETE", f"{_W}/sessions/{S}", None),
    ("GET", f"{_W}/sessions/{S}/messages", None),
    ("GET", f"{_W}/sessions/{S}/messages/user", None),
    ("GET", f"{_W}/messages/user", None),
    ("GET", f"{_W}/sessions/{S}/history", None),
    ("GET", f"{_W}/sessions/{S}/filetracker/files", None),
    ("POST", f"{_W}/filetracker/read", {"session_id": S, "path": "a.txt"}),
    ("GET", f"{_W}/filetracker/lastread?session_id={S}&path=a.txt", None),
    ("GET", f"{_W}/agent", None),
    ("POST", f"{_W}/agent", PROMPT),
    ("POST", f"{_W}/agent", PROMPT),
    ("POST", f"{_W}/agent/init", {"interactive": False}),
    ("POST", f"{_W}/agent/update", None),
    ("GET", _RUNS, None),
    ("POST", f"{_RUNS}/cancel", None),
    ("GET", f"{_RUNS}/prompts/queued", None),
    ("GET", f"{_RUNS}/prompts/list", None),
    ("POST", f"{_RUNS}/prompts/clear", None),
    ("GET", f"{_W}/permissions/skip", None),
    ("POST", f"{_W}/permissions/skip", {"skip": True}),
    ("POST", f"{_W}/permissions/grant", GRANT),
    ("GET", "/v1/openapi.json", None),
    ("GET", f"{_W}/providers", None),
    ("GET", f"{_W}/agent/default-small-model?provider_id=scripted", None),
    ("POST", f"{_W}/config/set", {"scope": 1, "key": "options.debug", "value": True}),
    ("POST", f"{_W}/config/remove", {"scope": 1, "key": "options.debug"}),
    ("POST", f"{_W}/config/model", {"scope": 1, "model_type": "small", "model": MODEL}),
    ("POST", f"{_W}/config/compact", {"scope": 1, "enabled": True}),
    ("POST", f"{_W}/config/provider-key", {"scope": 1, "provider_id": "other", **KEY}),
    ("POST", f"{_W}/config/import-copilot", None),
    ("POST", f"{_RUNS}/summarize", None),
    ("POST", f"{_RUNS}/shell", {"command": "true"}),
    ("POST", f"{_W}/questions/answer", {"id": "q", "answers": [{"id": "a", "answer": "x"}]}),
    ("POST", f"{_W}/questions/cancel", {"id": "q"}),
    ("GET", f"{_W}/project/needs-init", None),
    ("POST", f"{_W}/project/init", None),
    ("GET", f"{_W}/project/init-prompt", None),
    ("GET", f"{_W}/skills", None),
    ("POST", f"{_W}/skills/read", {"skill_id": "none"}),
    ("GET", f"{_W}/lsps", None),
    ("GET", f"{_W}/lsps/none/diagnostics", None),
    ("POST", f"{_W}/lsps/start", {"path": "a.txt"}),
    ("POST", f"{_W}/lsps/stop", None),
    ("GET", f"{_W}/mcp/states", None),
    ("GET", f"{_W}/mcp/prompts", None),
    ("GET", f"{_W}/mcp/pending-auth", None),
    ("GET", f"{_W}/mcp/auth-url?name=none", None),
    ("POST", f"{_W}/mcp/read-resource", {"name": "none", "uri": "x:y"}),
    ("POST", f"{_W}/mcp/get-prompt", {"client_id": "none", "prompt_id": "p", "args": {"a": "b"}}),
    ("POST", f"{_W}/mcp/refresh-tools", {"name": "none"}),
    ("POST", f"{_W}/mcp/refresh-prompts", {"name": "none"}),
    ("POST", f"{_W}/mcp/refresh-resources", {"name": "none"}),
    ("POST", f"{_W}/mcp/auth", {"name": "none"}),
    ("POST", f"{_W}/mcp/docker/enable", None),
    ("POST", f"{_W}/mcp/docker/disable", None),
    ("POST", f"{_W}/config/refresh-oauth", {"scope": 1, "provider_id": "scripted"}),
)

NAMES = {"<workspace_id>": W, "<session_id>": S, "<client_id>": C, "<name>": "none"}
"""What the application calls these in its rules."""


def unfuzzed() -> list[str]:
    """Return the routes of the application that no input is made for."""
    app = make_app(cast("WorkspaceHost", None), Settings())
    known = {(method, target.partition("?")[0]) for method, target, _ in ROUTES}
    missing: list[str] = []
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for name, ours in NAMES.items():
            path = path.replace(name, ours)
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        missing += [f"{method} {path}" for method in methods if (method, path) not in known]
    return missing


ODD_TEXTS = (
    "",
    "\0",
    "a\0b",
    "x" * 10_000,
    "\ud800",
    "\U0001f600",
    "../..",
    "a/b",
    "%",
    "%zz",
    "%ff%fe",
    "'; DROP TABLE sessions; --",
    "-1",
    "1e9",
    "9" * 400,
    "None",
    "\r\nX: y",
    "00000000-0000-4000-8000-000000000001",
    W,
    S,
    C,
)

ODD_VALUES: tuple[Any, ...] = (
    *ODD_TEXTS,
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    2**64,
    10**400,
    0.1,
    1e308,
    math.inf,
    math.nan,
    [],
    {},
    [None],
    {"": None},
    {"a": {"a": [1, None]}},
    ["x"] * 1_000,
)

PROMPTS = ("hello", "hello", "hello", "use a tool", "fail", "hang", "\0", "x" * 100_000)

HEADERS = (
    "Prefer: respond-async",
    "Prefer: wait=0",
    "Prefer: wait=99999999999999999999999999999",
    "Prefer: wait=x, respond-async=1, ,,=",
    "Content-Type: text/plain",
    "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: application/x-www-form-urlencoded",
    "User-Agent: Go-http-client/1.1",
    "Last-Event-ID: -1",
    "Last-Event-ID: 99999999999999999999999",
    "Accept-Encoding: gzip, br",
    "Range: bytes=0-1",
    "Content-Encoding: gzip",
    "Cookie: a=b; c",
    "X-HTTP-Method-Override: DELETE",
)

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "FOO")

TOKENS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"[" * 50_000,
    b'{"a":' * 2_000,
    b",",
    b":",
    b"null",
    b"1e999",
    b"-",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"//",
    b'"session_id":"@S@",',
)


@attrs.frozen
class Wanted:
    """A request, with the worker's names still to be put in."""

    method: str
    target: str
    headers: tuple[str, ...]
    body: bytes | None


def make(dice: random.Random) -> Wanted:
    """Return one input."""
    method, target, document = dice.choice(ROUTES)
    body = None if document is None else _body(dice, document)
    if document is None and dice.random() < 0.05:
        body = b"{}"
    if dice.random() < 0.03:
        method = dice.choice(METHODS)
    if dice.random() < 0.25:
        target = _odd_target(dice, target)
    headers = tuple(dice.sample(HEADERS, dice.choice((0, 0, 0, 1, 2))))
    return Wanted(method, target, headers, body)


def is_harmless(target: str, body: bytes, root: str) -> bool:
    """Whether a request, as the server reads it, harms no other worker.

    A create must stay within ``root``, and no configuration be changed but a workspace's own.
    """
    try:
        if "/config/" in target:
            return decode_body(body, RemoveField).scope == 1
        wanted = decode_body(body, CreateWorkspace)
    except BadRequestError:
        return "/config/" not in target
    places = [
        os.path.normpath(f"{root}/{place}" if place[:1] != "/" else place)
        for place in (wanted.path, wanted.data_dir)
    ]
    return all(
        place == root or (place.startswith(f"{root}/") and "~" not in place and "$" not in place)
        for place in places
    )


def _odd_target(dice: random.Random, target: str) -> str:
    path, mark, query = target.partition("?")
    if mark and dice.random() < 0.7:
        pairs = query.split("&")
        place = dice.randrange(len(pairs))
        name = pairs[place].partition("=")[0]
        value = _quoted(dice, dice.choice(ODD_TEXTS))
        pairs[place] = dice.choice(
            (f"{name}={value}", name, f"{value}=1", "", f"{name}={value}&{name}=2")
        )
        return f"{path}?{'&'.join(pairs)}"
    segments = path.split("/")
    segments[dice.randrange(1, len(segments))] = _quoted(dice, dice.choice(ODD_TEXTS))
    return "/".join(segments) + mark + query


def _quoted(dice: random.Random, text: str) -> str:
    if text in {W, S, C}:
        return text
    if text.isascii() and text.isprintable() and " " not in text and dice.random() < 0.3:
        return text
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _body(dice: random.Random, document: object) -> bytes:
    changed = json.loads(json.dumps(document))
    if "prompt" in changed:
        changed["prompt"] = dice.choice(PROMPTS)
        changed["run_id"] = dice.choice(("", "", "r1", f"r{dice.randrange(1_000)}"))
    chance = dice.random()
    if chance < 0.6:
        for _ in range(dice.choice((1, 1, 2))):
            changed = _altered(dice, changed)
    data = json.dumps(changed, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    return mutate(dice, data, TOKENS) if chance > 0.8 else data


def _altered(dice: random.Random, value: Any) -> Any:
    """Return ``value`` with one of its parts changed."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.1:
        return dice.choice(ODD_VALUES)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        place = dice.randrange(len(items))
        return [*items[:place], _altered(dice, items[place]), *items[place:]]
    fields = dict(cast("dict[str, Any]", value))
    name = dice.choice(list(fields))
    match dice.randrange(6):
        case 0:
            del fields[name]
        case 1:
            fields[dice.choice((name.upper(), "", "x", f"{name}\0"))] = fields.pop(name)
        case _:
            fields[name] = _altered(dice, fields[name])
    return fields
