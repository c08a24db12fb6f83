"""``bash``: texts, metadata and permissions as Crush's own server answered them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trio

from crush_trio.tools.base import DENIED, ToolAnswer
from crush_trio.tools.scripted import SLEEP_FOREVER, Script, ScriptedShell
from crush_trio.wire.events import PermissionNotification
from limits_kit import REAL_LIMIT
from tools_kit import Toolbox, is_alive, open_ear, open_toolbox


def timeless(answer: ToolAnswer) -> dict[str, Any]:
    """Return the metadata without its two times, which must be milliseconds of the last minutes."""
    metadata = dict(answer.metadata or {})
    start, end = metadata.pop("start_time"), metadata.pop("end_time")
    assert (time.time() - REAL_LIMIT) * 1000 < start <= end <= time.time() * 1000
    return metadata


async def test_a_granted_command_answers_output_and_place(tmp_path: Path) -> None:
    """Recorded case ``tool/bash-granted``: request, content and metadata are equal."""
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call(
                "bash", description="make a file", command="touch made.txt && echo made"
            )
    (request,) = box.asked
    assert request.tool_name == "bash"
    assert request.action == "execute"
    assert request.description == "Execute command: touch made.txt && echo made"
    assert request.path == str(tmp_path)
    assert request.params == {
        "description": "make a file",
        "command": "touch made.txt && echo made",
        "working_dir": "",
        "run_in_background": False,
        "auto_background_after": 0,
    }
    assert answer.content == f"made\n\n\n<cwd>{tmp_path}</cwd>"
    assert not answer.is_error
    assert timeless(answer) == {
        "output": "made\n",
        "description": "make a file",
        "working_directory": str(tmp_path),
    }
    assert (tmp_path / "made.txt").exists()


async def test_a_failing_command_is_no_error(tmp_path: Path) -> None:
    """Recorded case ``tool/bash-fails``: both streams and the exit code."""
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call(
                "bash", description="fail", command="mkdir x; echo out; echo err >&2; exit 3"
            )
    output = "out\n\n\nerr\n\nExit code 3"
    assert (answer.content, answer.is_error) == (f"{output}\n\n<cwd>{tmp_path}</cwd>", False)
    assert timeless(answer)["output"] == output


async def test_a_silent_command_has_no_output(tmp_path: Path) -> None:
    """Recorded case ``tool/skip``: without a request, and a text that clients know."""
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box:
            box.permissions.skip = True
            answer = await box.call("bash", description="a", command="touch a1")
    assert (box.asked, answer.content) == ([], "no output")
    assert timeless(answer)["output"] == ""


async def test_a_denied_command_does_not_run(tmp_path: Path) -> None:
    """Recorded case ``tool/first-answer-wins``: fixed text, no metadata, the turn stops."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            box.answer = "deny"
            answer = await box.call("bash", description="a", command="touch a1")
    assert answer == ToolAnswer(DENIED, is_error=True, stop_turn=True)
    assert answer.metadata_text == ""
    assert not (tmp_path / "a1").exists()


async def test_allowed_for_the_session_is_not_asked_again(tmp_path: Path) -> None:
    """Recorded case ``tool/allow-session``: the next command in that directory runs unasked."""
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box:
            box.answer = "allow_session"
            await box.call("bash", description="a", command="touch a1")
            await box.call("bash", description="b", command="touch a2")
    assert len(box.asked) == 1
    assert (tmp_path / "a2").exists()


@pytest.mark.promise("D3")
async def test_a_cancelled_call_withdraws_its_request(tmp_path: Path) -> None:
    """Who was asked learns that the question is gone; nothing has run."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            box.answer = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call_bash, box, "touch a1")
                await box.request.wait()
                nursery.cancel_scope.cancel("test")
    assert box.events[-1].payload == PermissionNotification("call_1", granted=False, denied=True)
    assert not (tmp_path / "a1").exists()


async def call_bash(box: Toolbox, command: str) -> None:
    await box.call("bash", description="test", command=command)


@pytest.mark.promise("R11")
async def test_a_cancelled_call_leaves_no_process(tmp_path: Path) -> None:
    """A command whose call still waits belongs to the run."""
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box, open_ear(tmp_path) as ear:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call_bash, box, "sleep 300 & echo $! > ear; wait")
                pid = await ear.pid()
                nursery.cancel_scope.cancel("test")
            assert not is_alive(pid)
            assert box.jobs.get("001") is None


@pytest.mark.promise("R11", "W5")
async def test_a_background_shell_survives_its_run_and_dies_with_the_workspace(
    tmp_path: Path,
) -> None:
    """It answers with an ID; the cancel of the run does not reach it, the close does."""
    with trio.fail_after(REAL_LIMIT):
        async with open_ear(tmp_path) as ear:
            async with open_toolbox(tmp_path) as box:
                answers: list[ToolAnswer] = []

                async def run() -> None:
                    command = "echo $$ > ear; exec sleep 300"
                    answers.append(
                        await box.call(
                            "bash", description="serve", command=command, run_in_background=True
                        )
                    )
                    scope.cancel("test")
                    await trio.sleep_forever()

                with trio.CancelScope() as scope:
                    await run()
                assert scope.cancelled_caught
                pid = await ear.pid()
                assert is_alive(pid)
            assert not is_alive(pid)
    (answer,) = answers
    assert answer.content.startswith("Background shell started with ID: 001\n\n")
    assert timeless(answer) == {
        "output": "",
        "description": "serve",
        "working_directory": str(tmp_path),
        "background": True,
        "shell_id": "001",
    }


SHELL = {"make": Script("ok\n", seconds=61), "slow": Script(seconds=3), "sleep": SLEEP_FOREVER}


@pytest.mark.parametrize(
    ("command", "after", "text"),
    [
        ("make", 0, "\n\nBackground shell ID: 001\n\n"),
        ("make", 62, "ok\n\n\n<cwd>"),
        ("slow", 2, "\n\nBackground shell ID: 001\n\n"),
        ("slow", -1, "no output"),
    ],
)
async def test_a_long_command_moves_to_the_background(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, command: str, after: int, text: str
) -> None:
    """After a minute, or after the seconds that the model gave."""
    async with open_toolbox(tmp_path, shell=ScriptedShell(SHELL)) as box:
        answer = await box.call(
            "bash", description="x", command=command, auto_background_after=after
        )
    assert text in answer.content
    assert ("shell_id" in (answer.metadata or {})) == ("Background" in text)


async def test_a_background_command_that_ends_at_once_answers_its_output(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A second is enough to see that a server does not start."""
    shell = ScriptedShell({"serve": Script(stderr="port in use\n", status=1, seconds=0.5)})
    async with open_toolbox(tmp_path, shell=shell) as box:
        answer = await box.call("bash", description="x", command="serve", run_in_background=True)
    assert answer.content.startswith("\nport in use\n\nExit code 1\n\n<cwd>")
    assert "background" not in (answer.metadata or {})


async def test_the_environment_is_quiet_and_names_the_agent(tmp_path: Path) -> None:
    """What the workspace gives, without what belongs to the server's own terminal."""
    env = {"PATH": "/usr/bin:/bin", "OWN": "1", "HERDR_ENV": "1", "PAGER": "less"}
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path, env=env) as box:
            answer = await box.call("bash", description="x", command="env | sort")
    said = answer.content.splitlines()
    assert {"CRUSH=1", "AGENT=crush", "AI_AGENT=crush", "OWN=1", "PAGER=cat"} <= set(said)
    assert not any(line.startswith("HERDR") for line in said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"description": "x"}, "command is required"),
        ({"description": "x", "command": "  "}, "command is required"),
        ({"description": "x", "command": "ls", "working_dir": "none"}, "does not exist"),
        ({"description": "x", "command": "touch \0"}, "null byte"),
    ],
)
async def test_a_command_that_cannot_run_is_an_error(
    tmp_path: Path, arguments: dict[str, str], message: str
) -> None:
    """The model is told what is wrong."""
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call("bash", **arguments)
    assert answer.is_error
    assert message in answer.content


async def test_a_blocked_command_is_refused_unasked(tmp_path: Path) -> None:
    """Nothing of the script runs; the text is that of a failed command."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            answer = await box.call("bash", description="x", command="touch a1; sudo touch a2")
    assert "not allowed for security reasons: 'sudo'\nExit code 1\n\n<cwd>" in answer.content
    assert (box.asked, answer.is_error, (tmp_path / "a1").exists()) == ([], False, False)


async def test_a_safe_command_runs_unasked_only_in_the_workspace(tmp_path: Path) -> None:
    """Elsewhere even ``git status`` may run what a stranger has configured."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    with trio.fail_after(REAL_LIMIT):
        async with open_toolbox(inside) as box:
            await box.call("bash", description="x", command="ls -a")
            assert box.asked == []
            await box.call("bash", description="x", command="ls -a", working_dir=str(outside))
    assert [request.path for request in box.asked] == [str(outside)]
