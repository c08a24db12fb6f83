"""The OpenAPI 3.1 document: the application's route table, each route's words, msgspec's schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import msgspec
from quart_trio import QuartTrio

from crush_trio import __version__
from crush_trio.server.openapi.operations import Operation, operation_of
from crush_trio.wire.events import PAYLOADS
from crush_trio.wire.workspaces import ErrorBody

OPENAPI = "3.1.0"

IMPLICIT = frozenset({"HEAD", "OPTIONS"})
"""Methods that the framework adds to a route by itself."""

_REFERENCE = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")

ABOUT = """\
Crush's protocol with our additions: sessions of a coding agent, shared by many clients. On TCP every \
request needs `Authorization: Bearer TOKEN`; on the unix socket none does.

The event stream (`GET /v1/workspaces/{workspace_id}/events`) is `text/event-stream`: each `data:` line \
is `{"type": T, "payload": {"type": "created"|"updated"|"deleted", "payload": P}}`. `x-events` \
of this document says which schema P has for each T.

Times are unix seconds unless they are text."""

ACCEPTED = (
    "Accepted. Who asked with `Prefer` is told `run_id` and `session_id`; else there is no body."
)
"""What a 202 means; a description cannot say that a body may be missing."""

PATH_PARAMETERS: Mapping[str, str] = {
    "workspace_id": "A workspace's id, from its create.",
    "session_id": "A session's id.",
    "client_id": "The UUID of a client.",
}


@attrs.frozen
class _Route:
    """One method of one path."""

    endpoint: str
    method: str
    path: str
    parameters: tuple[str, ...]
    operation: Operation


def make_document(app: QuartTrio) -> dict[str, Any]:
    """Return the document of an application's routes."""
    routes = list(_routes(app))
    schemas, components = _schemas(routes)
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _described(route, schemas)
    return {
        "openapi": OPENAPI,
        "info": {"title": "crush-trio", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
        "x-events": {name: schemas[payload] for name, payload in sorted(PAYLOADS.items())},
    }


def undescribed(app: QuartTrio) -> list[str]:
    """Return the endpoints whose handlers do not say what they speak."""
    return sorted(name for name, view in app.view_functions.items() if operation_of(view) is None)


def _routes(app: QuartTrio) -> Iterator[_Route]:
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
    for rule in rules:
        said = operation_of(app.view_functions[rule.endpoint])
        if said is None:
            continue
        path = _PARAMETER.sub(r"{\1}", rule.rule)
        names = tuple(_PARAMETER.findall(rule.rule))
        for method in sorted((rule.methods or set()) - IMPLICIT):
            yield _Route(rule.endpoint, method, path, names, said)


def _schemas(routes: list[_Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schema of each type that crosses the wire, and the components they refer to."""
    types: dict[Any, None] = {ErrorBody: None}
    for route in routes:
        said = route.operation
        for type_ in (said.body, said.reply, *said.replies.values()):
            if type_ is not None:
                types[type_] = None
    types.update(dict.fromkeys(PAYLOADS.values()))
    found, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    return dict(zip(types, found, strict=True)), dict(sorted(components.items()))


def _described(route: _Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    said = route.operation
    described: dict[str, Any] = {
        "operationId": route.endpoint,
        "tags": [route.endpoint.partition(".")[0]],
        "summary": said.summary,
        "responses": _responses(said, schemas),
    }
    parameters = [
        *(_parameter("path", name, PATH_PARAMETERS.get(name, "")) for name in route.parameters),
        *(_parameter("query", name, text) for name, text in said.query.items()),
        *(_parameter("header", name, text) for name, text in said.headers.items()),
    ]
    if parameters:
        described["parameters"] = parameters
    if said.body is not None:
        content = {"application/json": {"schema": schemas[said.body]}}
        described["requestBody"] = {"required": not said.body_optional, "content": content}
    return described


def _parameter(place: str, name: str, description: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name == "client_id":
        schema["format"] = "uuid"
    if place == "path":
        schema["minLength"] = 1
    return {
        "name": name,
        "in": place,
        "required": place == "path" or name == "client_id",
        "description": description,
        "schema": schema,
    }


def _responses(said: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    wrong = {"application/json": {"schema": schemas[ErrorBody]}}
    answers: dict[str, Any] = {}
    for status, type_ in {200: said.reply, **said.replies}.items():
        answers[str(status)] = {"description": "Done." if status == 200 else ACCEPTED}
        if type_ is not None or (status == 200 and said.kind != "application/json"):
            schema = {"type": "string"} if type_ is None else schemas[type_]
            answers[str(status)]["content"] = {said.kind: {"schema": schema}}
    answers["default"] = {"description": "What is wrong, in a sentence.", "content": wrong}
    return answers
