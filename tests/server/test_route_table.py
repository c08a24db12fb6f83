"""Every route of the contract is served, with its method and nothing more (wire contract 4)."""

from __future__ import annotations

from typing import Any

import pytest

from crush_trio.server.app import make_app
from crush_trio.server.openapi.viewer import PATHS
from crush_trio.settings import Settings
from strict_kit import REPLIES

ROUTES = """\
R-01 GET /v1/health
R-02 GET /v1/version
R-03 GET /v1/config
R-04 POST /v1/control
R-05 DELETE /v1/clients/{client_id}
R-06 GET /v1/workspaces
R-07 POST /v1/workspaces
R-08 DELETE /v1/workspaces/{id}
R-09 POST /v1/workspaces/{id}/current-session
R-10 GET /v1/workspaces/{id}
R-11 GET /v1/workspaces/{id}/config
R-12 GET /v1/workspaces/{id}/events
R-13 GET /v1/workspaces/{id}/providers
R-14 GET /v1/workspaces/{id}/sessions
R-15 POST /v1/workspaces/{id}/sessions
R-16 GET /v1/workspaces/{id}/sessions/{sid}
R-17 PUT /v1/workspaces/{id}/sessions/{sid}
R-18 DELETE /v1/workspaces/{id}/sessions/{sid}
R-19 GET /v1/workspaces/{id}/sessions/{sid}/history
R-20 GET /v1/workspaces/{id}/sessions/{sid}/messages
R-21 GET /v1/workspaces/{id}/sessions/{sid}/messages/user
R-22 GET /v1/workspaces/{id}/messages/user
R-23 GET /v1/workspaces/{id}/sessions/{sid}/filetracker/files
R-24 POST /v1/workspaces/{id}/filetracker/read
R-25 GET /v1/workspaces/{id}/filetracker/lastread
R-26 GET /v1/workspaces/{id}/lsps
R-27 GET /v1/workspaces/{id}/lsps/{lsp}/diagnostics
R-28 POST /v1/workspaces/{id}/lsps/start
R-29 POST /v1/workspaces/{id}/lsps/stop
R-30 GET /v1/workspaces/{id}/permissions/skip
R-31 POST /v1/workspaces/{id}/permissions/skip
R-32 POST /v1/workspaces/{id}/permissions/grant
R-33 POST /v1/workspaces/{id}/questions/answer
R-34 POST /v1/workspaces/{id}/questions/cancel
R-35 GET /v1/workspaces/{id}/agent
R-36 POST /v1/workspaces/{id}/agent
R-37 POST /v1/workspaces/{id}/agent/init
R-38 POST /v1/workspaces/{id}/agent/update
R-39 GET /v1/workspaces/{id}/agent/sessions/{sid}
R-40 POST /v1/workspaces/{id}/agent/sessions/{sid}/cancel
R-41 GET /v1/workspaces/{id}/agent/sessions/{sid}/prompts/queued
R-42 GET /v1/workspaces/{id}/agent/sessions/{sid}/prompts/list
R-43 POST /v1/workspaces/{id}/agent/sessions/{sid}/prompts/clear
R-44 POST /v1/workspaces/{id}/agent/sessions/{sid}/summarize
R-45 POST /v1/workspaces/{id}/agent/sessions/{sid}/shell
R-46 GET /v1/workspaces/{id}/agent/default-small-model
R-47 POST /v1/workspaces/{id}/config/set
R-48 POST /v1/workspaces/{id}/config/remove
R-49 POST /v1/workspaces/{id}/config/model
R-50 POST /v1/workspaces/{id}/config/compact
R-51 POST /v1/workspaces/{id}/config/provider-key
R-52 POST /v1/workspaces/{id}/config/import-copilot
R-53 POST /v1/workspaces/{id}/config/refresh-oauth
R-54 GET /v1/workspaces/{id}/project/needs-init
R-55 POST /v1/workspaces/{id}/project/init
R-56 GET /v1/workspaces/{id}/project/init-prompt
R-57 GET /v1/workspaces/{id}/skills
R-58 POST /v1/workspaces/{id}/skills/read
R-59 POST /v1/workspaces/{id}/mcp/refresh-tools
R-60 POST /v1/workspaces/{id}/mcp/read-resource
R-61 GET /v1/workspaces/{id}/mcp/prompts
R-62 POST /v1/workspaces/{id}/mcp/get-prompt
R-63 GET /v1/workspaces/{id}/mcp/states
R-64 GET /v1/workspaces/{id}/mcp/pending-auth
R-65 GET /v1/workspaces/{id}/mcp/auth-url
R-66 POST /v1/workspaces/{id}/mcp/auth
R-67 POST /v1/workspaces/{id}/mcp/refresh-prompts
R-68 POST /v1/workspaces/{id}/mcp/refresh-resources
R-69 POST /v1/workspaces/{id}/mcp/docker/enable
R-70 POST /v1/workspaces/{id}/mcp/docker/disable
"""
"""The contract's routes in its order: id, method, path."""

TABLE = [tuple(line.split()) for line in ROUTES.splitlines()]


def adapter() -> Any:
    """Return what finds the handler of a request; the handlers themselves are not called."""
    host: Any = None
    return make_app(host, Settings()).url_map.bind("localhost")


def filled(path: str) -> str:
    """Return a path with ids in its places; sub-agents' session ids hold two dollars."""
    return (
        path.replace("{id}", "w1")
        .replace("{sid}", "m1$$c1")
        .replace("{lsp}", "gopls")
        .replace("{client_id}", "c1")
    )


def test_the_table_is_whole() -> None:
    """Seventy routes, each once (wire contract 4)."""
    assert [each[0] for each in TABLE] == [f"R-{number:02}" for number in range(1, 71)]
    assert len({each[1:] for each in TABLE}) == 70


@pytest.mark.parametrize(("number", "method", "path"), TABLE, ids=[each[0] for each in TABLE])
def test_a_route_of_the_contract_is_served(number: str, method: str, path: str) -> None:
    """By a handler of its own; a ``GET`` also answers ``HEAD`` (wire contract 1.3)."""
    routes = adapter()
    endpoint, _ = routes.match(filled(path), method)
    assert endpoint
    assert set(routes.allowed_methods(filled(path))) >= {method}
    if method == "GET":
        assert routes.match(filled(path), "HEAD")[0] == endpoint
    assert not routes.test(filled(path) + "/", method)


def test_the_docs_route_is_served() -> None:
    """Beside the seventy; it shows our own description of them (wire contract 1.4)."""
    assert "/v1/docs/" in PATHS


def test_the_strict_reader_knows_every_route() -> None:
    """So that no reply passes a world of the tests unread (wire contract 13)."""
    known = {f"{method} {filled(path)}" for _, method, path in TABLE}
    strict = {
        route.replace("/clients/*", "/clients/c1")
        .replace("/workspaces/*", "/workspaces/w1")
        .replace("/sessions/*", "/sessions/m1$$c1")
        .replace("/lsps/*", "/lsps/gopls")
        for route in REPLIES
    }
    assert known - strict == {"GET /v1/workspaces/w1/events"}
    assert strict - known == set()
