"""``crush-trio session`` (agent contract 8.3, 8.5)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from click.testing import CliRunner

from crush_trio.addresses import Address
from crush_trio.cli.app import cli
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.finding import session_hash
from crush_trio.cli.showing import (
    delete_session,
    rename_session,
    show_session,
    to_json,
    to_text,
)
from crush_trio.errors import BadRequestError
from crush_trio.messages import (
    STOP,
    Binary,
    BinaryPart,
    Finish,
    FinishPart,
    ShellCommand,
    ShellCommandPart,
    Text,
    TextPart,
)
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.wire.messages import (
    WireMessage,
    WireReasoning,
    WireReasoningPart,
    WireToolCall,
    WireToolCallPart,
    WireToolResult,
    WireToolResultPart,
)
from crush_trio.wire.sessions import Session
from world_kit import open_served_world

SESSION = Session(
    id="s1", title="Fix\nit", created_at=1, updated_at=86400, cost=0.5, prompt_tokens=7
)
TALK = [
    WireMessage(
        (TextPart(Text("see")), BinaryPart(Binary("a.png", "image/png", b"\x01\x02")), STOP),
        id="m1",
        role="user",
        created_at=1,
    ),
    WireMessage(
        (
            WireReasoningPart(WireReasoning("Hm.", "sig", 1, 2)),
            WireToolCallPart(WireToolCall("c", "view", '{"file_path":"a.py"}', finished=True)),
            FinishPart(Finish("tool_use", 3)),
        ),
        id="m2",
        role="assistant",
        model="claude",
        provider="anthropic",
        created_at=2,
    ),
    WireMessage(
        (WireToolResultPart(WireToolResult("c", "view", "no such file", is_error=True)), STOP),
        id="m3",
        role="tool",
        created_at=3,
    ),
    WireMessage(
        (ShellCommandPart(ShellCommand("ls", "a\n", 0)), STOP), id="m4", role="user", created_at=4
    ),
    WireMessage(
        (TextPart(Text("\x1b[2JNo.")), FinishPart(Finish("error", 5, "Unauthorized", "bad key"))),
        id="m5",
        role="assistant",
        model="claude",
        created_at=5,
    ),
]


def test_the_skills_that_were_loaded_are_told_once() -> None:
    """Of what ``view`` has shown of them (agent contract 2.6 and 8.5)."""
    about = {"resource_type": "skill", "resource_name": "jq", "resource_description": "JSON."}
    results = [json.dumps(about), "", "[]", '{"resource_type": 5}', json.dumps(about)]
    talk = [
        WireMessage(
            (WireToolResultPart(WireToolResult("c", "view", "text", metadata=metadata)),),
            created_at=at,
        )
        for at, metadata in enumerate(results)
    ]
    (skill,) = json.loads(to_json(SESSION, talk))["meta"]["skills"]
    loaded = "1970-01-01T00:00:00Z"
    assert skill == {"name": "jq", "description": "JSON.", "loaded_at": loaded}


def test_a_session_as_json_has_crushs_shape() -> None:
    """Empty values are left out of parts; a shell command is told, where Crush has no word for it."""
    told = json.loads(to_json(SESSION, TALK))
    assert told["meta"] == {
        "id": session_hash("s1"),
        "uuid": "s1",
        "title": "Fix\nit",
        "created": "1970-01-01T00:00:01Z",
        "modified": "1970-01-02T00:00:00Z",
        "cost": 0.5,
        "prompt_tokens": 7,
        "completion_tokens": 0,
        "total_tokens": 7,
        "skills": [],
    }
    assert told["messages"][0] == {
        "id": "m1",
        "role": "user",
        "created": "1970-01-01T00:00:01Z",
        "parts": [
            {"type": "text", "text": "see"},
            {"type": "binary", "mime_type": "image/png", "size": 2},
            {"type": "finish", "reason": "stop"},
        ],
    }
    assert told["messages"][1]["parts"] == [
        {"type": "reasoning", "thinking": "Hm.", "started_at": 1, "finished_at": 2},
        {"type": "tool_call", "tool_call_id": "c", "name": "view", "input": '{"file_path":"a.py"}'},
        {"type": "finish", "reason": "tool_use", "time": 3},
    ]
    assert told["messages"][2]["parts"][0] == {
        "type": "tool_result",
        "tool_call_id": "c",
        "name": "view",
        "content": "no such file",
        "is_error": True,
    }
    assert told["messages"][3]["parts"][0] == {
        "type": "shell_command",
        "command": "ls",
        "output": "a\n",
        "exit_code": 0,
    }


def test_a_session_for_people_is_what_was_said_and_done() -> None:
    """Nothing in it steers the terminal."""
    head, *rest = to_text(SESSION, TALK).splitlines()
    assert head.endswith("1970-01-01T00:00:01Z  Fix it")
    assert [line for line in rest if line] == [
        "[you] see",
        "[you] attached a.png (image/png)",
        "view: a.py",
        "  failed: no such file",
        "[you] $ ls",
        "a",
        "[claude] \\x1b[2JNo.",
        "  error: Unauthorized",
    ]


def test_an_answer_without_a_reason_has_none() -> None:
    """A cancelled one, for instance."""
    last = msgspec.structs.replace(TALK[4], parts=(FinishPart(Finish("canceled", 1)),))
    assert to_text(SESSION, [last]).endswith("  canceled")


@asynccontextmanager
async def open_place(tmp_path: Path) -> AsyncGenerator[tuple[Address, str, str]]:
    """Serve a directory with one session; yields address, directory and the session's id."""
    with trio.fail_after(10):
        async with open_served_world(tmp_path, ScriptedModel("Hello.")) as world:
            assert world.address is not None
            async with world.client() as client:
                async with client.open_workspace(str(world.directory)) as workspace:
                    session = await workspace.create_session("first")
                    await session.prompt("hi")
                    yield world.address, str(world.directory), session.id


async def test_sessions_are_shown_renamed_and_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the beginning of the hash, as lists show it; each with a receipt."""
    async with open_place(tmp_path) as (address, cwd, session_id):
        short = session_hash(session_id)[:7]
        assert await show_session(cwd, address, None, as_json=False) == ExitCode.OK
        assert "[scripted-1] Hello." in capsys.readouterr().out
        await rename_session(cwd, address, short, "another title", as_json=False)
        assert capsys.readouterr().out == f"renamed {short}  another title\n"
        await show_session(cwd, address, short, as_json=True)
        told = json.loads(capsys.readouterr().out)
        assert (told["meta"]["title"], len(told["messages"])) == ("another title", 2)
        await delete_session(cwd, address, session_id, as_json=True)
        assert json.loads(capsys.readouterr().out) == {
            "id": session_hash(session_id),
            "uuid": session_id,
            "title": "another title",
            "deleted": True,
        }
        with pytest.raises(BadRequestError, match="is not in"):
            await show_session(cwd, address, short, as_json=False)


@pytest.mark.parametrize("command", ["list", "show", "last", "rename", "delete"])
def test_every_command_explains_itself(command: str) -> None:
    """And a title may be several words."""
    result = CliRunner().invoke(cli, ["session", command, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output
