"""Routes of people, sessions, commands and what a workspace has not (wire contract 4.3 to 4.9).

Each reply also passes the strict reader of the world.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.client.events import EventStream
from crush_trio.client.workspace import WorkspaceClient
from crush_trio.errors import ProviderError
from crush_trio.providers.base import Usage
from crush_trio.providers.scripted import Call, Fail, Hang, Report, Say, ScriptedModel
from crush_trio.wire.events import MCPEvent
from crush_trio.wire.questions import QuestionRequest, QuestionResponse
from limits_kit import REAL_LIMIT
from project_kit import config
from serving_kit import Reply
from tools_kit import open_ear, wait_gone
from world_kit import World, open_served_world, open_world

LIMIT = 3600
ASK = Call("question", {"questions": [{"type": "yes_no", "question": "Sure?", "description": "d"}]})
TODOS = [{"content": "Ship", "status": "in_progress", "active_form": "Shipping"}]


@attrs.define(eq=False)
class Visitor:
    """A client with an open workspace, and a session there."""

    world: World
    workspace: WorkspaceClient
    session_id: str

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        """Send one request below the workspace."""
        return await self.world.request(method, f"/v1{self.workspace._path}{path}", body)

    async def post(self, path: str, body: object = None) -> Reply:
        return await self.ask("POST", path, body)

    async def get(self, path: str) -> Any:
        """Return what a question is answered."""
        reply = await self.ask("GET", path)
        assert reply.status == 200
        return reply.json

    async def prompt(self, text: str = "hello") -> Reply:
        """Prompt and wait for the end."""
        return await self.post("/agent", {"session_id": self.session_id, "prompt": text})

    def of_agent(self, action: str) -> str:
        return f"/agent/sessions/{self.session_id}/{action}"


@asynccontextmanager
async def visiting(world: World) -> AsyncGenerator[Visitor]:
    async with world.visit() as workspace:
        session = await workspace.create_session("New Session")
        yield Visitor(world, workspace, session.id)


@asynccontextmanager
async def virtual(
    tmp_path: Path, *answers: Any, document: object = None, title: Any = "Scripted title"
) -> AsyncGenerator[Visitor]:
    model = ScriptedModel(*answers, title=title)
    async with open_world(tmp_path, model, document=document) as world, visiting(world) as visitor:
        with trio.fail_after(LIMIT):
            await trio.lowlevel.checkpoint()
            yield visitor


@asynccontextmanager
async def real(tmp_path: Path, *answers: Any, document: object = None) -> AsyncGenerator[Visitor]:
    model = ScriptedModel(*answers)
    async with open_served_world(tmp_path, model, document=document) as world:
        async with visiting(world) as visitor:
            with trio.fail_after(REAL_LIMIT):
                await trio.lowlevel.checkpoint()
                yield visitor


async def until_asked(events: EventStream) -> QuestionRequest:
    async for event in events:
        if isinstance(event.payload, QuestionRequest):
            return event.payload
    raise AssertionError("the stream has ended")


# --- sessions (4.3) ----------------------------------------------------------------------------


async def test_r17_a_rename_keeps_counters_cost_and_summary(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Crush zeroes them by mistake; nobody can notice that we do not (R-17)."""
    document = config()
    prices = {"cost_per_1m_in": 1_000_000, "cost_per_1m_out": 0}
    document["providers"]["scripted"]["models"][0] |= prices
    async with virtual(
        tmp_path, "one", [Say("sum"), Report(Usage(input=5, output=30))], document=document
    ) as visitor:
        await visitor.prompt()
        assert (await visitor.post(visitor.of_agent("summarize"))).status == 200
        before = await visitor.get(f"/sessions/{visitor.session_id}")
        assert before["summary_message_id"]
        assert before["cost"] > 0
        body = {"id": visitor.session_id, "title": "Mine", "cost": before["cost"], "todos": TODOS}
        renamed = (await visitor.ask("PUT", f"/sessions/{visitor.session_id}", body)).json
        after = await visitor.get(f"/sessions/{visitor.session_id}")
        assert (renamed["title"], renamed["todos"]) == ("Mine", TODOS)
        kept = ("prompt_tokens", "completion_tokens", "summary_message_id", "cost")
        assert [after[name] for name in kept] == [before[name] for name in kept]


async def test_r17_a_rename_during_a_run_stays(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Neither the title that is being made nor the run's end brings the old name back (R-17, 6.4)."""
    answer = [Say("a b c", pause=10), Report(Usage(input=5, output=30))]
    title = [Say("a late title", pause=40)]
    async with virtual(tmp_path, answer, title=title) as visitor:
        path = f"/sessions/{visitor.session_id}"
        async with visitor.workspace.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(visitor.prompt)
            async for event in events:
                if event.type == "message" and event.change == "created":
                    break
            known = await visitor.get(path)
            renamed = (await visitor.ask("PUT", path, known | {"title": "Mine"})).json
            assert (renamed["title"], renamed["is_busy"]) == ("Mine", True)
            async for event in events:
                if event.type == "run_complete":
                    break
            model = visitor.world.model
            assert isinstance(model, ScriptedModel)
            assert (len(model.title_requests), model.closed_streams) == (1, 1)
            await model.wait_closed(2)  # the title is made
            await trio.sleep(1)
            after = await visitor.get(path)
        assert (after["title"], after["is_busy"]) == ("Mine", False)
        assert after["completion_tokens"] >= 30
        assert after["message_count"] == 2


async def test_r18_a_deleted_session_is_gone_with_its_messages(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its run settles first, then the event, then the reply; not a 404 afterwards (R-18, 1.3)."""
    async with virtual(tmp_path, [Say("x"), Hang()]) as visitor:
        answers: list[Reply] = []

        async def prompt() -> None:
            answers.append(await visitor.prompt())

        async with visitor.workspace.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(prompt)
            async for event in events:
                if event.type == "message" and "x" in str(event.payload):
                    break
            reply = await visitor.ask("DELETE", f"/sessions/{visitor.session_id}")
            assert (reply.status, reply.body) == (200, b"")
        assert answers[0].json["cancelled"] is True
        assert await visitor.get(f"/sessions/{visitor.session_id}/messages") == []
        missing = await visitor.ask("DELETE", f"/sessions/{visitor.session_id}")
        assert missing.status == 400


async def test_r09_presence_is_the_session_that_a_client_shows(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Counted by client with a stream; no event tells of it (R-09, 5.9)."""
    async with virtual(tmp_path) as visitor:
        path = f"/sessions/{visitor.session_id}"
        with pytest.raises(Exception, match="client not attached"):
            await visitor.workspace.select_session(visitor.session_id)
        async with visitor.workspace.events():
            await visitor.workspace.select_session(visitor.session_id)
            assert (await visitor.get(path))["attached_clients"] == 1
            await visitor.workspace.select_session("")
            assert (await visitor.get(path))["attached_clients"] == 0


# --- questions (4.5, 9.4) ------------------------------------------------------------------------


@pytest.mark.promise("D1")
async def test_r33_a_question_is_answered_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The first answer is told to the model and to everybody; the second decides nothing (R-33)."""
    async with virtual(tmp_path, [ASK], "Thanks.") as visitor:
        async with visitor.workspace.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(visitor.prompt)
            batch = await until_asked(events)
            answer = [QuestionResponse(batch.questions[0].id, yes=True)]
            assert await visitor.workspace.answer_questions(batch, answer)
            assert not await visitor.workspace.answer_questions(batch, answer)
        messages = await visitor.get(f"/sessions/{visitor.session_id}/messages")
        result = messages[2]["parts"][0]["data"]
        assert result["content"] == "Q1: Sure?\nUser answered: yes"
        assert messages[3]["parts"][0]["data"]["text"] == "Thanks."


async def test_r34_a_refused_question_stops_the_turn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It counts as a normal end (R-34, 6.7)."""
    async with virtual(tmp_path, [ASK], "never") as visitor:
        async with visitor.workspace.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(visitor.prompt)
            await until_asked(events)
            assert await visitor.workspace.refuse_questions()
            assert not await visitor.workspace.refuse_questions()
        messages = await visitor.get(f"/sessions/{visitor.session_id}/messages")
        assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
        assert messages[1]["parts"][-1]["data"]["reason"] == "end_turn"


@pytest.mark.parametrize("body", ["", {"responses": {}}, {"responses": [{"yes": "true"}]}])
async def test_r33_a_body_that_cannot_be_read_is_refused(
    autojump_clock: MockClock, tmp_path: Path, body: object
) -> None:
    """As every body; nothing was open and nothing happens (2.1)."""
    async with virtual(tmp_path) as visitor:
        reply = await visitor.post("/questions/answer", body)
        assert reply.status == 400
        assert reply.json["message"].startswith("failed to decode request")


# --- the agent (4.6) -------------------------------------------------------------------------------


async def test_r44_a_summary_outlives_its_request(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The client goes away in the middle of it, and it is made all the same (wire contract 0)."""
    async with virtual(tmp_path, "one", [Say("a b c", pause=1)]) as visitor:
        await visitor.prompt()
        path = f"/v1{visitor.workspace._path}{visitor.of_agent('summarize')}"
        async with visitor.workspace.events() as events:
            async with visitor.world.call("POST", path):
                async for event in events:
                    if "is_summary_message=True" in str(event.payload):
                        break
            async for event in events:
                if event.type == "session" and event.change == "updated":
                    break
        session = await visitor.get(f"/sessions/{visitor.session_id}")
        assert session["summary_message_id"]
        assert session["is_busy"] is False


async def test_r44_a_summary_that_fails_says_why(autojump_clock: MockClock, tmp_path: Path) -> None:
    """With the provider's words; a session that does not exist and one that is busy, too (R-44)."""
    failure = Fail(ProviderError("no summary today", title="Bad Request", http_status=400))
    async with virtual(tmp_path, "one", failure, [Say("x"), Hang()]) as visitor:
        await visitor.prompt()
        reply = await visitor.post(visitor.of_agent("summarize"))
        assert (reply.status, reply.json["message"]) == (500, "bad request: no summary today")
        reply = await visitor.post("/agent/sessions/nobody/summarize")
        assert reply.status == 400
        assert "failed to get session" in reply.json["message"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitor.prompt)
            while not (await visitor.get("/agent"))["is_busy"]:
                pass
            reply = await visitor.post(visitor.of_agent("summarize"))
            assert reply.status == 409
            assert reply.json["message"] == "session is currently processing another request"
            await visitor.post(visitor.of_agent("cancel"))


@pytest.mark.promise("R4")
async def test_r44_a_cancelled_summary_is_answered_200(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And ``settled`` waits for it, although it is no entry of the receipt (wire contract 0)."""
    async with virtual(tmp_path, "one", [Say("x"), Hang()]) as visitor:
        await visitor.prompt()
        statuses: list[int] = []

        async def summarize() -> None:
            statuses.append((await visitor.post(visitor.of_agent("summarize"))).status)

        async with visitor.workspace.events() as events, trio.open_nursery() as nursery:
            nursery.start_soon(summarize)
            async for event in events:
                if "is_summary_message=True" in str(event.payload):
                    break
            session = visitor.workspace.session(visitor.session_id)
            receipt = await session.cancel(wait=5)
            assert (receipt.runs, receipt.settled) == ((), True)
        assert statuses == [200]


async def test_r45_a_command_of_the_user_is_run_and_noted(tmp_path: Path) -> None:
    """In the workspace, with colours and without editors; one message tells of it (R-45, 6.9)."""
    async with real(tmp_path) as visitor:
        command = (
            "pwd; echo $TERM $COLORTERM $CLICOLOR_FORCE $FORCE_COLOR $EDITOR $PAGER >&2; exit 3"
        )
        reply = await visitor.post(visitor.of_agent("shell"), {"command": command})
        directory = visitor.world.directory
        output = f"{directory}\n\nxterm-256color truecolor 1 1 false cat\n"
        assert reply.json == {"output": output, "exit_code": 3}
        (message,) = await visitor.get(f"/sessions/{visitor.session_id}/messages/user")
        assert [part["type"] for part in message["parts"]] == ["shell_command", "finish"]
        assert message["parts"][0]["data"] == {
            "command": command,
            "output": output,
            "exit_code": 3,
        }


@pytest.mark.parametrize(
    ("command", "output", "status"),
    [
        ("cat; read word; echo [$word]", "[]\n", 0),
        ("sleep 300 & echo started", "started\n", 0),
        ("kill -9 $$", "", 137),
        (r"printf '\377\000'", "\ufffd\0", 0),
        (r"printf '\033[31mred'; echo no >&2", "\x1b[31mred\nno\n", 0),
        ("cd /; pwd", "/\n", 0),
        ("  ", "", 0),
    ],
)
async def test_r45_a_command_of_the_user_waits_for_nobody(
    tmp_path: Path, command: str, output: str, status: int
) -> None:
    """Not for input, and not for what it leaves running; colours come as they are (R-45)."""
    async with real(tmp_path) as visitor:
        reply = await visitor.post(visitor.of_agent("shell"), {"command": command})
        assert reply.json == {"output": output, "exit_code": status}


@pytest.mark.promise("R11")
async def test_r45_a_command_ends_when_its_user_goes_away(tmp_path: Path) -> None:
    """With its processes; nothing is noted (R-45)."""
    async with real(tmp_path) as visitor:
        path = f"/v1{visitor.workspace._path}{visitor.of_agent('shell')}"
        body = {"command": "echo $$ > ear; exec sleep 1000"}
        async with open_ear(visitor.world.directory) as ear:
            async with visitor.world.call("POST", path, body):
                pid = await ear.pid()
        await wait_gone(pid)
        assert await visitor.get(f"/sessions/{visitor.session_id}/messages") == []


# --- project and skills (4.8) -----------------------------------------------------------------------


async def test_r54_a_project_that_nobody_described_wants_to_be_introduced(tmp_path: Path) -> None:
    """Until the user was asked, or somebody writes a file for agents (R-54 to R-56)."""
    async with real(tmp_path) as visitor:
        (visitor.world.directory / "main.go").write_text("")
        assert await visitor.get("/project/needs-init") == {"needs_init": True}
        described = visitor.world.directory / "agents.md"
        described.write_text("")
        assert await visitor.get("/project/needs-init") == {"needs_init": False}
        described.unlink()
        assert "AGENTS.md" in (await visitor.get("/project/init-prompt"))["prompt"]
        async with visitor.workspace.events() as events:
            assert (await visitor.post("/project/init")).status == 200
            async for event in events:
                if event.type == "config_changed":
                    break
        assert await visitor.get("/project/needs-init") == {"needs_init": False}


async def test_r54_an_empty_directory_has_nothing_to_describe(tmp_path: Path) -> None:
    """Hidden files do not count (R-54)."""
    async with real(tmp_path) as visitor:
        (visitor.world.directory / "crush.json").rename(visitor.world.directory / ".crush.json")
        assert await visitor.get("/project/needs-init") == {"needs_init": False}


async def test_r57_skills_are_found_when_the_workspace_is_opened(tmp_path: Path) -> None:
    """One that is not there is the caller's fault; models are told of those that are (R-57, R-58)."""
    skill = tmp_path / "project/.crush/skills/jump/SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: jump\ndescription: Jumps high.\n---\nBend your knees.\n")
    async with real(tmp_path, "one") as visitor:
        info, *builtin = await visitor.get("/skills")
        assert (info["id"], info["label"]) == (str(skill), "project:jump")
        names = ["crush-config", "crush-hooks", "jq"]
        assert [other["label"] for other in builtin] == [f"system:{name}" for name in names]
        assert (await visitor.get(""))["skills"] == [
            {"name": "jump", "path": str(skill), "state": 0},
            *({"name": n, "path": f"crush://skills/{n}/SKILL.md", "state": 0} for n in names),
        ]
        own = await visitor.post("/skills/read", {"skill_id": builtin[2]["id"]})
        assert own.json["result"] | {"description": ""} == {
            "name": "jq",
            "description": "",
            "source": "system",
            "builtin": True,
        }
        read = await visitor.post("/skills/read", {"skill_id": info["id"]})
        assert base64.b64decode(read.json["content"]) == skill.read_bytes()
        await visitor.prompt()
        model = visitor.world.model
        assert isinstance(model, ScriptedModel)
        assert f"<location>{skill}</location>" in model.requests[0].messages[0].text
        reply = await visitor.post("/skills/read", {"skill_id": "nope"})
        assert (reply.status, reply.json["message"]) == (400, "skill not found: nope")


# --- language servers and MCP (4.4, 4.9) ----------------------------------------------------------------


async def test_r26_there_are_no_language_servers(autojump_clock: MockClock, tmp_path: Path) -> None:
    """An empty object, no error; the one 404 that is harmless (R-26 to R-29)."""
    async with virtual(tmp_path) as visitor:
        assert await visitor.get("/lsps") == {}
        reply = await visitor.ask("GET", "/lsps/gopls/diagnostics")
        assert (reply.status, reply.json["message"]) == (404, "LSP client not found")
        assert (await visitor.post("/lsps/start", {"path": "/p/main.go"})).body == b""
        assert (await visitor.post("/lsps/stop")).body == b""


async def test_r26_a_configured_language_server_is_not_started(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """As in Crush before a file is opened: its panel names the server (R-26, agent contract 6.3)."""
    lsp = {"gopls": {"command": "gopls"}, "off": {"command": "x", "disabled": True}}
    async with virtual(tmp_path, document=config(lsp=lsp)) as visitor:
        never = "0001-01-01T00:00:00Z"
        assert await visitor.get("/lsps") == {
            "gopls": {"name": "gopls", "state": 0, "connected_at": never},
            "off": {"name": "off", "state": 5, "connected_at": never},
        }
        assert (await visitor.ask("GET", "/lsps/gopls/diagnostics")).status == 404
        assert (await visitor.get("/config"))["lsp"] == lsp


async def test_r63_what_is_configured_and_cannot_be_used_says_so(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """An error with its reason, and ``disabled`` for what is switched off (R-63 to R-66)."""
    mcp = {
        "docs": {"type": "http", "url": "https://docs.invalid/mcp", "oauth": True},
        "off": {"type": "stdio", "command": "x", "disabled": True},
    }
    async with virtual(tmp_path, document=config(mcp=mcp)) as visitor:
        states = await visitor.get("/mcp/states")
        assert states["docs"]["state"] == "error"
        assert states["docs"]["error"]
        assert states["off"]["state"] == "disabled"
        assert await visitor.get("/mcp/prompts") == []
        assert await visitor.get("/mcp/pending-auth") == []
        assert await visitor.get("/mcp/auth-url?name=docs") == {}
        assert (await visitor.ask("GET", "/mcp/auth-url")).status == 400
        for name, said in (
            ("docs", "cannot log in"),
            ("off", "does not use OAuth authentication"),
            ("none", "not found in configuration"),
        ):
            reply = await visitor.post("/mcp/auth", {"name": name})
            assert reply.status == 400
            assert said in reply.json["message"]
        for name in ("tools", "prompts", "resources"):
            assert (await visitor.post(f"/mcp/refresh-{name}", {"name": "docs"})).status == 200
        for path in ("/mcp/read-resource", "/mcp/get-prompt", "/mcp/docker/enable"):
            reply = await visitor.post(path, {"name": "none", "client_id": "none"})
            assert reply.status == 400
            assert "not available" in reply.json["message"]


async def test_r70_docker_is_switched_off(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its entry goes from the user's configuration, and every client hears of it (R-70)."""
    async with virtual(tmp_path) as visitor:
        entry = {"type": "stdio", "command": "docker", "args": ["mcp", "gateway", "run"]}
        await visitor.post("/config/set", {"scope": 0, "key": "mcp.docker", "value": entry})
        assert "docker" in (await visitor.get("/mcp/states"))
        async with visitor.workspace.events() as events:
            assert (await anext(events)).type == "hello"
            assert (await visitor.post("/mcp/docker/disable")).status == 200
            assert (await anext(events)).type == "config_changed"
            disabled = MCPEvent(type="state_changed", name="docker", state="disabled")
            assert (await anext(events)).payload == disabled
        assert await visitor.get("/mcp/states") == {}


async def test_4_7_a_change_tells_of_the_mcp_servers_that_it_changes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And of no other one, and only once: a terminal asks three things for each such event (4.10)."""
    mcp = {"docs": {"type": "http", "url": "https://docs.invalid/mcp"}}
    async with virtual(tmp_path, document=config(mcp=mcp)) as visitor:
        hub = visitor.world.host.get(visitor.workspace.id).hub
        async with visitor.workspace.events() as events:
            assert (await anext(events)).type == "hello"
            value = {"type": "stdio", "command": "x", "disabled": True}
            await visitor.post("/config/set", {"scope": 1, "key": "mcp.off", "value": value})
            told = [await anext(events), await anext(events)]
            assert [event.type for event in told] == ["config_changed", "mcp_event"]
            off = MCPEvent(type="state_changed", name="off", state="disabled")
            assert told[1].payload == off
            last = hub.last_id
            for path in ("/agent/update", "/agent/init"):
                assert (await visitor.post(path)).status == 200
            assert hub.last_id == last
            await visitor.post("/config/compact", {"scope": 1, "enabled": True})
            assert (await anext(events)).type == "config_changed"
            body = {"scope": 1, "key": "mcp.off.disabled", "value": False}
            await visitor.post("/config/set", body)
            assert (await anext(events)).type == "config_changed"
            broken = (await anext(events)).payload
            assert isinstance(broken, MCPEvent)
            assert (broken.name, broken.state) == ("off", "error")
            assert broken.error


# --- no loops (4.10) -------------------------------------------------------------------------------------


async def test_4_10_what_clients_ask_because_of_an_event_publishes_none(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Else client and server would go on for ever."""
    async with virtual(tmp_path, "one") as visitor:
        async with visitor.workspace.events():
            await visitor.prompt()
            workspace = visitor.world.host.get(visitor.workspace.id)
            await trio.sleep(60)  # the title is made
            last = workspace.hub.last_id
            sid = visitor.session_id
            for path in (
                "",
                "/agent",
                "/permissions/skip",
                f"/agent/sessions/{sid}/prompts/list",
                "/lsps",
                "/mcp/states",
                "/mcp/prompts",
                "/mcp/pending-auth",
                f"/sessions/{sid}/history",
                f"/sessions/{sid}/filetracker/files",
                f"/sessions/{sid}/messages",
                "/messages/user",
                "/skills",
            ):
                await visitor.get(path)
            await visitor.ask("GET", "/lsps/gopls/diagnostics")
            for path, body in (
                ("/agent/update", None),
                ("/mcp/refresh-tools", {"name": "docs"}),
                ("/mcp/refresh-prompts", {"name": "docs"}),
                ("/mcp/refresh-resources", {"name": "docs"}),
                ("/lsps/start", {"path": "/p/main.go"}),
            ):
                assert (await visitor.post(path, body)).status == 200
            assert workspace.hub.last_id == last
