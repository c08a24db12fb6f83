"""The configuration's routes, one test or more for each (wire contract 4.7, R-13, R-46)."""

from __future__ import annotations

import fcntl
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.errors import ResponseError
from crush_trio.ids import new_id
from crush_trio.providers.script import Call, Say, WaitFor
from crush_trio.providers.scripted import ScriptedModel
from people_kit import Desk, desk, listening, noticed
from project_kit import config, write_config
from serving_kit import Reply
from world_kit import World, open_world

LIMIT = 3600
"""Virtual seconds."""

MODELS = [
    {"id": "scripted-1", "name": "One", "default_max_tokens": 1000},
    {"id": "scripted-2", "name": "Two", "default_max_tokens": 2000},
]


@attrs.frozen
class Office:
    """A workspace with somebody who listens."""

    world: World
    place: Desk
    tmp_path: Path

    @property
    def workspace_file(self) -> Path:
        return self.world.directory / ".crush" / "crush.json"

    @property
    def user_file(self) -> Path:
        return self.tmp_path / "home/.local/share/crush/crush.json"

    @property
    def changes(self) -> int:
        """How often the listener has heard of a change."""
        return len(self.place.ear.of("config_changed"))

    async def post(self, route: str, body: object) -> Reply:
        path = f"/v1/workspaces/{self.place.workspace.id}/{route}"
        reply = await self.world.request("POST", path, body)
        await noticed()
        return reply

    async def get(self, route: str) -> Any:
        path = f"/v1/workspaces/{self.place.workspace.id}/{route}"
        return (await self.world.request("GET", path)).json


@asynccontextmanager
async def open_office(
    tmp_path: Path, model: ScriptedModel | None = None, **more: Any
) -> AsyncGenerator[Office]:
    document = config(**more)
    document["providers"]["scripted"]["models"] = MODELS
    with trio.fail_after(LIMIT):
        async with open_world(tmp_path, model, document=document) as world, desk(world) as place:
            yield Office(world, place, tmp_path)


def in_file(path: Path) -> Any:
    return json.loads(path.read_text())


# --- R-47, R-48 ---------------------------------------------------------------------------------


async def test_r47_a_value_is_written_to_its_scope_told_and_in_force(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Scope 1 is the workspace's file; every other number, and none, the user's."""
    async with open_office(tmp_path) as office:
        body: dict[str, Any] = {"scope": 1, "key": "options.notifications", "value": "bell"}
        reply = await office.post("config/set", body)
        assert (reply.status, reply.body) == (200, b"")
        assert in_file(office.workspace_file) == {"options": {"notifications": "bell"}}
        assert office.workspace_file.stat().st_mode & 0o777 == 0o600
        assert (await office.get("config"))["options"]["notifications"] == "bell"
        assert office.changes == 1
        payload = office.place.ear.of("config_changed")[0]
        assert payload.workspace_id == office.place.workspace.id
        for number, scope in enumerate(({}, {"scope": 0}, {"scope": 7}, {"scope": None})):
            value = f"PLAN{number}.md"
            await office.post(
                "config/set", {"key": "options.initialize_as", "value": value} | scope
            )
            assert in_file(office.user_file) == {"options": {"initialize_as": value}}
            assert (await office.get("config"))["options"]["initialize_as"] == value
        assert office.changes == 5


async def test_r47_keys_that_nobody_knows_survive(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Those of other programs, and those of a newer Crush."""
    async with open_office(tmp_path) as office:
        office.workspace_file.write_text('{"theirs": {"a": [1, null]}, "options": {"future": 1}}')
        await office.post("config/set", {"scope": 1, "key": "options.debug", "value": True})
        assert in_file(office.workspace_file) == {
            "theirs": {"a": [1, None]},
            "options": {"future": 1, "debug": True},
        }


async def test_r47_what_makes_no_sense_is_written_and_not_in_force(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As Crush does; the server keeps its last good state and says in its log which line is wrong."""
    async with open_office(tmp_path) as office:
        body = {"scope": 1, "key": "options.debug", "value": "not a bool"}
        assert (await office.post("config/set", body)).status == 200
        assert "debug" not in (await office.get("config"))["options"]
        assert office.changes == 1
        assert "line 1: options.debug: expected `bool`" in caplog.text
        refused = await office.post("agent/update", None)
        assert refused.status == 400
        assert "line 1: options.debug" in refused.json["message"]
        result = await office.place.session.prompt("hello")
        assert result.outcome == "completed"
        await office.post("config/remove", {"scope": 1, "key": "options.debug"})
        assert (await office.post("agent/update", None)).status == 200


async def test_r47_what_is_allowed_unasked_changes_in_an_open_workspace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Both ways, and at once: who takes a tool from the list wants to be asked."""
    outside = Call("ls", {"path": str(tmp_path / "home")})
    model = ScriptedModel([outside], "seen", [outside], "never said")
    async with open_office(tmp_path, model) as office:
        key = "permissions.allowed_tools"
        await office.post("config/set", {"scope": 1, "key": key, "value": ["ls"]})
        assert (await office.place.session.prompt("look there")).text == "seen"
        assert not office.place.ear.of("permission_request")
        await office.post("config/remove", {"scope": 1, "key": key})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office.place.session.prompt, "look there again")
            await noticed()
            assert len(office.place.ear.of("permission_request")) == 1
            await office.place.session.cancel()


async def test_r47_the_env_table_and_limits_reach_the_next_commands(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The creator's own environment stays over it, as at the opening."""
    async with open_office(tmp_path) as office:
        workspace = office.place.workspace
        env = {"FLAVOUR": "sweet"}
        await office.post("config/set", {"scope": 1, "key": "env", "value": env})
        await office.post("config/set", {"scope": 1, "key": "tools.ls.max_depth", "value": 1})
        (opened,) = office.world.host.workspaces
        assert opened.id == workspace.id
        assert opened.surroundings.env["FLAVOUR"] == "sweet"
        assert opened.surroundings.limits.ls.max_depth == 1


@pytest.mark.promise("C4")
async def test_r47_and_r48_bad_requests_change_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Nobody is told of anything."""
    async with open_office(tmp_path) as office:
        for route, body, words in (
            ("set", {"scope": "workspace", "key": "a", "value": 1}, "scope"),
            ("set", {"scope": 1, "key": 5}, "key"),
            ("set", {"scope": 1, "key": ""}, "failed to set config field : path cannot be empty"),
            ("set", {"scope": 1, "key": "a..b"}, "empty part"),
            ("set", {"scope": 1, "key": "options.#.x"}, "not allowed"),
            ("remove", {"scope": 1}, "failed to delete config field : path cannot be empty"),
            ("remove", b"", "failed to decode request"),
        ):
            reply = await office.post(f"config/{route}", body)
            assert (reply.status, words in reply.json["message"]) == (400, True), reply.json
        assert not office.workspace_file.exists()
        assert office.changes == 0
        unknown = await office.world.request("POST", "/v1/workspaces/x/config/set", {"key": "a"})
        assert (unknown.status, unknown.json["message"]) == (404, "workspace not found")


async def test_r48_a_value_is_removed_and_an_absent_one_is_fine(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Both are told."""
    async with open_office(tmp_path) as office:
        await office.post("config/set", {"scope": 1, "key": "options.debug", "value": True})
        for _ in range(2):
            reply = await office.post("config/remove", {"scope": 1, "key": "options.debug"})
            assert reply.status == 200
        assert in_file(office.workspace_file) == {"options": {}}
        assert "debug" not in (await office.get("config"))["options"]
        assert office.changes == 3


async def test_a_change_is_the_workspaces_and_not_its_clients(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """R2 for configurations: who leaves in the middle has changed it all the same."""
    async with open_office(tmp_path) as office:
        path = f"/v1/workspaces/{office.place.workspace.id}/config/set"
        body = {"scope": 1, "key": "options.debug", "value": True}
        lock = office.workspace_file.with_name("crush.json.lock")
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            async with office.world.call("POST", path, body):
                await office.world.traffic.wait("POST", "config/set")
                await noticed()
            await noticed()
            assert not office.workspace_file.exists()
        await office.place.ear.wait(lambda event: event.type == "config_changed")
        assert in_file(office.workspace_file) == {"options": {"debug": True}}


async def test_every_client_hears_of_a_change(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Wire contract 5.5: one ``config_changed`` on each stream."""
    async with (
        open_office(tmp_path) as office,
        office.world.visit() as other,
        listening(other) as ear,
    ):
        await office.post("config/compact", {"scope": 1, "enabled": True})
        assert office.changes == len(ear.of("config_changed")) == 1


async def test_reading_and_updating_tell_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Wire contract 4.10: a client answers each event with one of these."""
    async with open_office(tmp_path) as office:
        before = len(office.place.ear.events)
        for route in ("config", "providers", "agent", "agent/default-small-model"):
            await office.get(route)
        await office.world.request("GET", f"/v1/workspaces/{office.place.workspace.id}")
        await office.post("agent/update", None)
        await office.post("agent/init", {"interactive": True})
        assert len(office.place.ear.events) == before


# --- R-46 ---------------------------------------------------------------------------


async def test_r49_a_model_is_chosen_remembered_and_used_after_an_update(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Told as it was given; the agent has it from R-38 on, and a run in flight keeps the old one."""
    model = ScriptedModel("one", "two")
    async with open_office(tmp_path, model) as office:
        second = {"model": "scripted-2", "provider": "scripted"}
        body = {"scope": 1, "model_type": "large", "model": second | {"reasoning_effort": "low"}}
        assert (await office.post("config/model", body)).status == 200
        told = await office.get("config")
        assert told["models"]["large"] == body["model"]
        assert told["recent_models"] == {"large": [second]}
        assert (await office.get("agent"))["model"]["id"] == "scripted-1"
        await office.place.session.prompt("a")
        assert (await office.post("agent/update", None)).status == 200
        assert (await office.get("agent"))["model_cfg"] == body["model"]
        await office.place.session.prompt("b")
        assert [request.model for request in model.requests][-1] == "scripted-2"
        assert in_file(office.workspace_file) == {
            "models": {"large": body["model"]},
            "recent_models": {"large": [second]},
        }
        assert office.changes == 1


async def test_r49_the_latest_five_models_are_remembered(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Each once, the newest first."""
    async with open_office(tmp_path) as office:
        for number in (1, 2, 3, 4, 5, 6, 3):
            model = {"model": f"m{number}", "provider": "p"}
            body = {"scope": 1, "model_type": "small", "model": model}
            await office.post("config/model", body)
        recent = (await office.get("config"))["recent_models"]["small"]
        assert [each["model"] for each in recent] == ["m3", "m6", "m5", "m4", "m2"]


async def test_r49_a_model_that_does_not_exist_is_refused_by_the_update(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The agent keeps the one that it has."""
    async with open_office(tmp_path) as office:
        body = {"model_type": "large", "model": {"model": "none", "provider": "scripted"}}
        assert (await office.post("config/model", body)).status == 200
        refused = await office.post("agent/update", None)
        assert refused.status == 400
        assert "model 'none' is not among those of provider 'scripted'" in refused.json["message"]
        info = await office.get("agent")
        assert (info["is_ready"], info["model"]["id"]) == (True, "scripted-1")
        assert (await office.post("config/model", {"model_type": ""})).status == 400


async def test_a_choice_of_a_model_that_does_not_exist_is_corrected_in_the_users_file(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """When a workspace opens, and when it reads again; what else is there stays (agent contract 3.3)."""
    gone = {"provider": "scripted", "model": "gone"}
    user_file = tmp_path / "home/.local/share/crush/crush.json"
    user_file.parent.mkdir(parents=True)
    user_file.write_text(json.dumps({"models": {"large": gone}, "mine": 1}))
    right = {"model": "scripted-1", "provider": "scripted", "max_tokens": 1000}
    async with open_office(tmp_path) as office:
        assert in_file(user_file) == {"models": {"large": right}, "mine": 1}
        assert user_file.stat().st_mode & 0o777 == 0o600
        assert (await office.get("config"))["models"]["large"] == right
        user_file.write_text(json.dumps({"models": {"large": gone, "small": gone}}))
        assert (await office.post("agent/update", {})).status == 200
        assert in_file(user_file) == {"models": {"large": right, "small": right}}


async def test_r49_a_choice_outlives_a_new_reading_of_the_files(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Agent contract 3.1: also one that the project's file says otherwise."""
    async with open_office(tmp_path) as office:
        model = {"model": "scripted-2", "provider": "scripted"}
        await office.post("config/model", {"scope": 0, "model_type": "large", "model": model})
        document = config(models={"large": {"model": "scripted-1", "provider": "scripted"}})
        document["providers"]["scripted"]["models"] = MODELS
        write_config(office.world.directory, document)
        await office.post("agent/init", {"interactive": True})
        assert (await office.get("agent"))["model"]["id"] == "scripted-2"


async def test_r46_the_small_model_that_goes_with_a_provider(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A known provider's own; else the large model as it is selected."""
    async with open_office(tmp_path) as office:
        large = {"model": "scripted-1", "provider": "scripted", "max_tokens": 1000}
        for query in ("", "?provider_id=", "?provider_id=scripted", "?provider_id=none"):
            assert await office.get(f"agent/default-small-model{query}") == large
        small = await office.get("agent/default-small-model?provider_id=openai")
        assert small == {
            "model": "gpt-5-mini",
            "provider": "openai",
            "reasoning_effort": "medium",
            "max_tokens": 128000,
        }


# --- R-13 ---------------------------------------------------------------------------


async def test_r50_compact_mode(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A false one is written, and left out of what clients are told."""
    async with open_office(tmp_path) as office:
        await office.post("config/compact", {"scope": 1, "enabled": True})
        assert (await office.get("config"))["options"]["tui"]["compact_mode"] is True
        await office.post("config/compact", {"scope": 1, "enabled": False})
        assert "compact_mode" not in (await office.get("config"))["options"]["tui"]
        assert in_file(office.workspace_file) == {"options": {"tui": {"compact_mode": False}}}
        assert (await office.post("config/compact", {"enabled": 1})).status == 400


async def test_r51_a_key_makes_a_known_provider_usable(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It and its models are in the configuration afterwards."""
    async with open_office(tmp_path) as office:
        body = {"provider_id": "openai", "kind": "string", "api_key": "sk-1"}
        assert (await office.post("config/provider-key", body)).status == 200
        provider = (await office.get("config"))["providers"]["openai"]
        assert provider["api_key"] == "sk-1"
        assert "gpt-5.1" in [model["id"] for model in provider["models"]]
        assert in_file(office.user_file) == {"providers": {"openai": {"api_key": "sk-1"}}}
        assert office.changes == 1


async def test_r51_a_login_is_stored_with_its_token(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its access token is the key."""
    async with open_office(tmp_path) as office:
        token = {"access_token": "a", "refresh_token": "r", "expires_in": 9, "expires_at": 10}
        body = {"scope": 1, "provider_id": "scripted", "kind": "oauth", "api_key": token}
        assert (await office.post("config/provider-key", body)).status == 200
        entry = in_file(office.workspace_file)["providers"]["scripted"]
        assert entry == {"oauth": token, "api_key": "a"}
        assert (await office.get("config"))["providers"]["scripted"]["oauth"] == token
        renewed = await office.post("config/refresh-oauth", {"provider_id": "scripted"})
        assert renewed.status == 500
        assert "failed to refresh OAuth token for provider scripted" in renewed.json["message"]


@pytest.mark.promise("C4", "A2")
async def test_r51_and_r53_what_cannot_be_is_refused(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """No answer shows a key."""
    async with open_office(tmp_path) as office:
        for route, body, message in (
            ("provider-key", {"provider_id": "x", "kind": "pigeon"}, 'api key kind "pigeon"'),
            ("provider-key", {"provider_id": "x"}, 'unsupported api key kind ""'),
            ("provider-key", {"kind": "string", "api_key": 5}, "decode api key string: "),
            ("provider-key", {"kind": "oauth", "api_key": "s3cret"}, "decode api key oauth token"),
            (
                "provider-key",
                {"provider_id": "nope", "kind": "string", "api_key": "s3cret"},
                "provider with ID nope not found in known providers",
            ),
            ("refresh-oauth", {"provider_id": "nope"}, "provider nope not found"),
            ("refresh-oauth", {"provider_id": "scripted"}, "does not have an OAuth token"),
        ):
            reply = await office.post(f"config/{route}", body)
            assert (reply.status, message in reply.json["message"]) == (400, True), reply.json
            assert "s3cret" not in reply.json["message"]
        assert office.changes == 0


async def test_r52_there_is_no_login_of_copilot(autojump_clock: MockClock, tmp_path: Path) -> None:
    """An answer, and no event."""
    async with open_office(tmp_path) as office:
        reply = await office.post("config/import-copilot", None)
        assert reply.json == {"token": None, "success": False}
        assert office.changes == 0


async def test_r13_the_whole_catalogue(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Also where the default providers are switched off."""
    async with open_office(tmp_path, options={"disable_default_providers": True}) as office:
        providers = await office.get("providers")
        assert [provider["id"] for provider in providers][:2] == ["anthropic", "openai"]
        assert "anthropic" not in (await office.get("config"))["providers"]
        other = await office.world.request("GET", f"/v1/workspaces/{new_id()}/providers")
        assert other.status == 404


# --- a prompt's own model (wire contract 0, R-36) -------------------------------------------------


async def test_a_prompt_may_name_the_model_that_answers_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """That prompt and no other: the selected model stays, and nobody is told of anything."""
    model = ScriptedModel("one", "two")
    async with open_office(tmp_path, model) as office:
        session = office.place.session
        assert (await session.prompt("a", model="scripted/scripted-2")).text == "one"
        assert (await session.prompt("b")).text == "two"
        assert model_ids(model) == ["scripted-2", "scripted-1"]
        answers = [m for m in await session.messages() if m.role == "assistant"]
        assert [(m.model, m.provider) for m in answers] == [
            ("scripted-2", "scripted"),
            ("scripted-1", "scripted"),
        ]
        assert (await office.get("agent"))["model"]["id"] == "scripted-1"
        assert office.changes == 0


async def test_a_prompt_for_another_model_does_not_join_a_running_turn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its turn is its own, behind the other."""
    gate = trio.Event()
    model = ScriptedModel([WaitFor(gate), Say("one")], "two")
    async with open_office(tmp_path, model) as office, trio.open_nursery() as nursery:
        nursery.start_soon(office.place.session.prompt, "a")
        await model.wait_request(1)
        accepted = await office.place.session.submit("b", model="scripted-2")
        gate.set()
        done = await office.place.ear.wait_complete(accepted.run_id)
        assert done.text == "two"
        assert model_ids(model) == ["scripted-1", "scripted-2"]


@pytest.mark.promise("C4")
async def test_a_prompt_for_a_model_that_is_not_there_is_refused(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With the candidates; nothing is stored."""
    async with open_office(tmp_path) as office:
        with pytest.raises(ResponseError) as caught:
            await office.place.session.prompt("a", model="none")
        assert caught.value.status == 400
        assert "model 'none' is unknown; there is scripted/scripted-1" in str(caught.value)
        assert await office.place.session.messages() == []


def model_ids(model: ScriptedModel) -> list[str]:
    """Return which models were asked for answers, not for titles."""
    return [request.model for request in model.requests if request.tools]
