"""Requests for a workspace that nobody has opened since the restart."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from core_kit import SETTINGS, Disk, Town, now, write_config
from crush_trio.ids import ClientID, WorkspaceID
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server.app import make_app
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces import Equipment, Register, StateFile, open_workspace_host
from crush_trio.workspaces.saved import SavedClaim, SavedWorkspace
from limits_kit import REAL_LIMIT
from serving_kit import Server, serving

pytestmark = pytest.mark.promise("W3")

IDENTITY = WorkspaceID("5b0c2f6e-2a0b-4c55-9f2c-0d8b8a1f3f10")
CLIENT = ClientID("0b9c2a3e-1f4d-4c5b-8a7e-6d5c4b3a2f10")
STRANGER = "7a1d0c7e-3c55-4b0e-9d1f-2f6a9c1b8e42"
HERE = f"/v1/workspaces/{IDENTITY}"


async def inline(function: Callable[..., Any], *args: Any) -> Any:
    """Write nothing: these servers do not last."""
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def restarted(tmp_path: Path) -> AsyncGenerator[tuple[Server, Town]]:
    """Serve, and know one workspace with one client from before."""
    write_config(tmp_path / "project")
    town = Town(tmp_path / "project", ScriptedModel(), Disk())
    claims = (SavedClaim(CLIENT),)
    path = str(town.directory)
    saved = SavedWorkspace(IDENTITY, path, CreateWorkspace(path, env=("X=1",)), claims)
    register = Register(StateFile(tmp_path / "state.json", "s"), (saved,), inline)
    equipment = Equipment(town.open_provider, None, SETTINGS, now)
    async with open_workspace_host(
        equipment, town.open_store, {"HOME": str(tmp_path)}, register
    ) as host:
        town.host = host

        async def shutdown() -> None:
            host.begin_closing()
            await host.wait_closed()

        async with serving(make_app(host, SETTINGS), shutdown=shutdown) as server:
            yield server, town


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "", b"", 200),
        ("GET", "/config", b"", 200),
        ("GET", f"/events?client_id={CLIENT}", b"", 200),
        ("HEAD", f"/events?client_id={CLIENT}", b"", 200),
        ("POST", f"/current-session?client_id={CLIENT}", b"{}", 409),
        ("GET", "/sessions", b"", 200),
        ("POST", "/sessions", b'{"title": "x"}', 200),
        ("GET", "/agent", b"", 200),
        ("POST", "/agent/init", b"", 200),
        ("POST", "/agent", b'{"session_id": "s", "prompt": ""}', 400),
        ("POST", "/agent/sessions/s/cancel", b"", 200),
        ("GET", "/permissions/skip", b"", 200),
        ("GET", "/filetracker/lastread?session_id=s&path=/p", b"", 200),
    ],
)
async def test_every_request_below_it_opens_it(
    method: str, path: str, body: bytes, status: int, tmp_path: Path
) -> None:
    """And is answered as if nothing had happened."""
    with trio.fail_after(REAL_LIMIT):
        async with restarted(tmp_path) as (server, town):
            async with await server.connect() as stream:
                head = f"{method} {HERE}{path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}"
                await stream.send_all(head.encode() + b"\r\n\r\n" + body)
                answer = await stream.receive_some()
                assert answer.startswith(b"HTTP/1.1 %d" % status)
            assert [workspace.id for workspace in town.host.workspaces] == [IDENTITY]


async def test_its_answer_is_that_of_before(tmp_path: Path) -> None:
    """With the environment of its first creator, which a client sends back when it re-creates it."""
    with trio.fail_after(REAL_LIMIT):
        async with restarted(tmp_path) as (server, _):
            told = (await server.request("GET", HERE)).json
            assert (told["id"], told["env"]) == (IDENTITY, ["X=1"])


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/workspaces", b"", 200),
        ("GET", "/v1/health", b"", 200),
        ("GET", "/v1/workspaces/unknown", b"", 404),
        ("GET", f"/v1/workspaces/unknown/events?client_id={CLIENT}", b"", 404),
        ("POST", "/v1/workspaces/unknown/sessions", b"{}", 404),
        ("POST", "/v1/workspaces/unknown/sessions", b"{", 400),
        ("GET", f"{HERE}/events?client_id=x", b"", 400),
        ("GET", f"{HERE}/nothing", b"", 404),
        ("PUT", f"{HERE}/sessions", b"{}", 405),
        ("DELETE", f"{HERE}?client_id=x", b"", 400),
        ("DELETE", f"{HERE}?client_id={STRANGER}", b"", 200),
        ("DELETE", f"/v1/clients/{STRANGER}", b"", 200),
    ],
)
async def test_other_requests_open_nothing(
    method: str, path: str, body: bytes, status: int, tmp_path: Path
) -> None:
    """They are answered as ever, and the workspace can still be opened."""
    with trio.fail_after(REAL_LIMIT):
        async with restarted(tmp_path) as (server, town):
            assert (await server.request(method, path, body=body)).status == status
            assert (town.opened, town.host.workspaces) == ([], [])
            assert (await server.request("GET", HERE)).status == 200


@pytest.mark.promise("R3", "W2")
@pytest.mark.parametrize("path", [f"{HERE}?client_id={CLIENT}", f"/v1/clients/{CLIENT}"])
async def test_the_last_clients_goodbye_makes_its_id_unknown(path: str, tmp_path: Path) -> None:
    """Without opening it."""
    with trio.fail_after(REAL_LIMIT):
        async with restarted(tmp_path) as (server, town):
            assert (await server.request("DELETE", path)).status == 200
            gone = await server.request("GET", HERE)
            assert (gone.status, gone.json) == (404, {"message": "workspace not found"})
            assert town.opened == []
