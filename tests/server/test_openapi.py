"""The description of the routes is made of the routes (wire contract 4)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from quart_trio import QuartTrio
from trio.testing import MockClock

from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server.app import make_app
from crush_trio.server.openapi import make_document, operation, undescribed
from crush_trio.server.problems import answer
from crush_trio.settings import Settings
from crush_trio.wire.events import PAYLOADS
from world_kit import open_world


def app_of(host: Any = None) -> QuartTrio:
    """Return the application; its handlers are not called, so that it needs no host."""
    return make_app(host, Settings())


def references(value: Any) -> set[str]:
    """Return every reference in a document."""
    return set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(value)))


def test_every_route_says_what_it_speaks() -> None:
    """A route without ``@operation(...)`` below its own decorator is one that nobody can look up."""
    assert undescribed(app_of()) == []


def test_the_document_is_complete_in_itself() -> None:
    """Each reference has its schema, each parameter of a path is declared, each id is there once."""
    document = make_document(app_of())
    assert document["openapi"].startswith("3.1")
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas
    operations = [(path, one) for path, item in document["paths"].items() for one in item.values()]
    assert len({one["operationId"] for _, one in operations}) == len(operations)
    for path, one in operations:
        named = {p["name"] for p in one.get("parameters", []) if p["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_the_types_of_events_are_told() -> None:
    """OpenAPI has no words for a stream of them."""
    document = make_document(app_of())
    assert document["x-events"].keys() == PAYLOADS.keys()
    assert document["x-events"]["session"] == {"$ref": "#/components/schemas/Session"}


def test_a_route_is_described_by_the_types_that_serve_it() -> None:
    """Body, answer, the answer to whoever does not wait, and what is looked at beside them."""
    prompt = make_document(app_of())["paths"]["/v1/workspaces/{workspace_id}/agent"]["post"]
    body = prompt["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/AgentMessage"}
    assert prompt["responses"].keys() == {"200", "202", "default"}
    assert [p["name"] for p in prompt["parameters"]] == ["workspace_id", "Prefer"]


def test_an_operation_with_a_word_that_does_not_exist_is_refused() -> None:
    """When the module is imported, not when somebody reads the document."""
    with pytest.raises(TypeError, match="replies_with"):
        operation("Something.", replies_with=str)


def test_a_route_that_says_nothing_is_found() -> None:
    """So that the first test can fail."""
    app = app_of()

    @app.get("/v1/secretly")
    async def secretly() -> Any:
        return answer("nothing")

    assert undescribed(app) == ["secretly"]
    assert "/v1/secretly" not in make_document(app)["paths"]


async def test_the_document_is_served(tmp_path: Path, autojump_clock: MockClock) -> None:
    """As JSON, the same to everybody."""
    async with open_world(tmp_path, ScriptedModel()) as world, world.client() as client:
        texts = [(await client._transport.call("GET", "/openapi.json")).body for _ in range(2)]
    assert texts[0] == texts[1]
    assert "/v1/openapi.json" in json.loads(texts[0])["paths"]
