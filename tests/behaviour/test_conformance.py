"""The contract's check list (wire contract 14), where no test of its own noun shows a line."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crush_trio.ids import new_id
from crush_trio.providers.scripted import Say, ScriptedModel
from crush_trio.settings import Settings
from crush_trio.wire.messages import WireMessage
from limits_kit import REAL_LIMIT
from people_kit import agent_path, desk
from project_kit import config
from strict_kit import REPLIES
from terminal_kit import GO, come_to_rest, open_terminal
from world_kit import open_served_world, open_world

FREE = {
    "DELETE /v1/workspaces/*": 200,
    "GET /v1/workspaces/*/mcp/states": 200,
    "GET /v1/workspaces/*/mcp/auth-url": 400,
    "POST /v1/workspaces/*/mcp/refresh-prompts": 200,
    "POST /v1/workspaces/*/mcp/refresh-resources": 200,
}
"""Routes that do not look the workspace up, and what they answer (R-08, R-63, R-65, R-67, R-68)."""

ASYNC = {"Prefer": "respond-async"}

BODIES: dict[str, Any] = {
    "config/provider-key": {"provider_id": "p", "kind": "string", "api_key": "k"},
    "config/set": {"scope": 0, "key": "a", "value": 1},
    "config/remove": {"scope": 0, "key": "a"},
    "permissions/grant": {"permission": {"id": "p"}, "action": "allow"},
}
"""Bodies of routes that want more than an empty object before they look the workspace up."""


async def test_14_1_an_unknown_workspace_is_a_404_in_json_on_every_route(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The client takes exactly that for a lost workspace and registers again (1.3)."""
    wrong: list[str] = []
    with trio.fail_after(3600):
        async with open_world(tmp_path) as world:
            routes = [route for route in REPLIES if "/v1/workspaces/*" in route]
            routes.append("GET /v1/workspaces/*/events")
            for route in routes:
                method, _, path = route.partition(" ")
                end = path.removeprefix("/v1/workspaces/*/")
                own = path.replace("/workspaces/*", f"/workspaces/{new_id()}").replace("*", "a$$b")
                body = BODIES.get(end, {}) if method in {"POST", "PUT"} else None
                reply = await world.request(method, f"{own}?client_id={new_id()}", body, GO)
                found = reply.status, reply.body
                wanted = FREE.get(route, 404)
                if reply.status != wanted or (
                    wanted == 404 and reply.json != {"message": "workspace not found"}
                ):
                    wrong.append(f"{route}: {found}")
    assert wrong == []


async def test_14_3_a_first_start_without_a_model_leads_through_the_first_run_page(
    tmp_path: Path,
) -> None:
    """The embedded model makes nothing configured for this client (wire contract 0): no provider,
    not ready, and no error. It writes a provider and a model, and then the prompt is answered."""
    provider = config()["providers"]["scripted"]
    chosen = {"model": "scripted-1", "provider": "scripted"}
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, ScriptedModel("Hello."), document={}) as world:
            async with open_terminal(world) as terminal:
                assert terminal.workspace["config"]["providers"] == {}
                assert not (await terminal.ask("GET", "/agent"))["is_ready"]
                body = {"scope": 0, "key": "providers.scripted", "value": provider}
                await terminal.ask("POST", "/config/set", body)
                for kind in ("large", "small"):
                    body = {"scope": 0, "model_type": kind, "model": chosen}
                    await terminal.ask("POST", "/config/model", body)
                await terminal.until(lambda seen: seen.workspace["config"].get("models"))
                await terminal.ask("POST", "/agent/init", {"interactive": True})
                await terminal.send("hi")
                await terminal.until_idle()
                assert terminal.screen == ["> hi", "Hello.", "--"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/config/set", {"scope": 0, "key": "options.notifications", "value": "bell"}),
        ("/config/compact", {"scope": 0, "enabled": True}),
        ("/mcp/refresh-tools", {"name": "none"}),
        ("/lsps/start", {"path": "/none"}),
        ("/agent/update", None),
        ("/project/init", None),
    ],
)
async def test_14_20_two_clients_that_answer_every_event_come_to_rest(
    tmp_path: Path, path: str, body: object
) -> None:
    """Each asks because of what it hears (4.10); what that publishes must not be heard again."""
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path) as world:
            async with open_terminal(world) as terminal, open_terminal(world) as other:
                await terminal.ask("POST", path, body)
                await come_to_rest(terminal, other)
                assert terminal.asked.total() + other.asked.total() < 100


@pytest.mark.promise("R8")
async def test_14_11_who_hears_that_a_turn_is_over_finds_an_idle_session(tmp_path: Path) -> None:
    """The client refreshes on ``agent_finished`` and at no other time."""
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, ScriptedModel(*["Hi."] * 5)) as world:
            async with desk(world, plain=True) as place:
                for number in range(1, 6):
                    sent = {"session_id": place.session.id, "prompt": "hi"}
                    await world.request("POST", agent_path(place.session), sent, ASYNC)
                    await place.ear.wait(
                        lambda _, number=number: len(place.ear.of("agent_event")) == number
                    )
                    assert not (await place.workspace.agent()).is_busy
                    assert not (await place.session.state()).is_busy


async def test_14_22_large_attachments_and_long_pauses_are_allowed(tmp_path: Path) -> None:
    """Twelve megabytes in one prompt come back as they were sent; an idle connection is kept for
    longer than the client's pool keeps it."""
    assert Settings().keep_alive_timeout > 90
    content = bytes(range(256)) * 4096 * 12
    attachment = {
        "content": base64.b64encode(content).decode(),
        "file_path": "/p/a.png",
        "file_name": "a.png",
        "mime_type": "image/png",
    }
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path) as world, desk(world, plain=True) as place:
            sent = {"session_id": place.session.id, "prompt": "see", "attachments": [attachment]}
            reply = await world.request("POST", agent_path(place.session), sent)
            assert (reply.status, reply.json["outcome"]) == (200, "completed")
            heard = await place.ear.wait(
                lambda each: each.type == "message" and each.payload.role == "user"
            )
            stored: WireMessage = (await place.session.messages())[0]
            for message in (heard.payload, stored):
                data: Any = message.parts[1].data
                assert (data.path, data.mime_type) == ("/p/a.png", "image/png")
                assert data.data == content


@pytest.mark.promise("S3")
async def test_5_6_a_terminal_that_was_suspended_for_ten_minutes_draws_what_it_missed(
    mock_clock: MockClock, tmp_path: Path
) -> None:
    """It asks and reads nothing meanwhile, while others talk in its session, more than its socket
    holds. When it goes on, its screen is the other's, without a new stream."""
    mock_clock.rate = 1.0
    long = "x" * 400_000
    model = ScriptedModel("One.", Say(long, chunk=40_000), "Three.")
    with trio.fail_after(620 + REAL_LIMIT):
        async with (
            open_served_world(tmp_path, model) as world,
            open_terminal(world) as terminal,
            open_terminal(world) as other,
        ):
            await terminal.send("first")
            await terminal.until_idle()
            await other.load(terminal._sid)
            terminal.paused = trio.Event()
            for text in ("second", "third"):
                await other.send(text)
                await other.until_idle()
            mock_clock.jump(600)
            assert terminal.screen == ["> first", "One.", "--"]
            terminal.paused.set()
            await terminal.until(lambda seen: seen.screen == other.screen)
            assert terminal.screen[-5:] == [long, "--", "> third", "Three.", "--"]
            assert terminal.losses == 0
