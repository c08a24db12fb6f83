"""``config``, ``models``, ``dirs``, ``projects`` and ``schema`` (agent contract 8.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import jsonschema_rs
import pytest

from crush_trio.cli import main
from crush_trio.cli.configuring import (
    list_dirs,
    list_models,
    list_projects,
    set_value,
    show_value,
    unset_value,
)
from crush_trio.config.projects import read_projects, remember_project
from crush_trio.config.schema import config_schema
from crush_trio.errors import BadRequestError

DOCUMENT: dict[str, Any] = {
    "options": {"disable_default_providers": True},
    "models": {"large": {"provider": "probe", "model": "big"}},
    "providers": {"probe": {"base_url": "http://x/v1", "models": [{"id": "big"}, {"id": "small"}]}},
}


@attrs.frozen
class Desk:
    """A project and a home, and what the commands do there."""

    project: Path
    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": "/bin:/usr/bin"}

    @property
    def user_file(self) -> Path:
        return self.home / ".local/share/crush/crush.json"

    async def get(self, key: str | None = None) -> None:
        await show_value(str(self.project), key, self.env)

    async def set(self, key: str, text: str, *, workspace: bool = False) -> None:
        await set_value(str(self.project), key, text, self.env, workspace=workspace)

    async def models(self, *words: str, every: bool = False) -> None:
        await list_models(str(self.project), words, self.env, every=every)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "crush.json").write_text(json.dumps(DOCUMENT))
    return Desk(directory, tmp_path / "home")


Printed = pytest.CaptureFixture[str]


async def test_models_are_listed_and_filtered(desk: Desk, capsys: Printed) -> None:
    """One a line; those of the catalogue only if asked for, and marked."""
    await desk.models()
    assert capsys.readouterr().out == "probe/big\nprobe/small\n"
    await desk.models("PROBE", "sm")
    assert capsys.readouterr().out == "probe/small\n"
    await desk.models("openai/gpt-4o", every=True)
    assert capsys.readouterr().out.splitlines()[0] == "openai/gpt-4o  (no key)"


@pytest.mark.parametrize(
    ("args", "called"),
    [(["gpt", "mini"], "list"), (["--all"], "list"), (["pull"], "pull")],
)
def test_what_is_no_command_of_models_is_a_filter(
    args: list[str], called: str, capsys: Printed
) -> None:
    """``models gpt`` lists; ``models pull`` still fetches."""
    with pytest.raises(SystemExit):
        main(["models", *args, "--help"])
    assert f"crush-trio models {called}" in capsys.readouterr().out


async def test_a_value_is_set_shown_and_removed(desk: Desk, capsys: Printed) -> None:
    """In the user's file, or in the workspace's; JSON if it is some, else a text."""
    await desk.set("options.debug", "true")
    assert json.loads(desk.user_file.read_text()) == {"options": {"debug": True}}
    await desk.set("options.initialize_as", "P.md", workspace=True)
    assert json.loads((desk.project / ".crush/crush.json").read_text()) == {
        "options": {"initialize_as": "P.md"}
    }
    for key in ("options.debug", "options.initialize_as", "providers.probe.models.1.id"):
        await desk.get(key)
    assert capsys.readouterr().out == "true\nP.md\nsmall\n"
    await desk.get()
    assert json.loads(capsys.readouterr().out)["options"]["debug"] is True
    await unset_value(str(desk.project), "options.debug", desk.env, workspace=False)
    for key in ("options.debug", "options.debug.x", "providers.probe.models.7"):
        with pytest.raises(BadRequestError, match=f"key '{key}' is not set"):
            await desk.get(key)


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("options.debug", "maybe", "key 'options.debug' cannot be 'maybe': Expected `bool`"),
        ("options..debug", "true", "has an empty part"),
        ("providers", "[]", r"cannot be '\[\]'"),
    ],
)
async def test_a_value_of_the_wrong_kind_is_refused(
    desk: Desk, key: str, text: str, words: str
) -> None:
    """Nothing is written."""
    with pytest.raises(BadRequestError, match=words):
        await desk.set(key, text)
    assert not desk.user_file.exists()


async def test_the_files_are_listed_in_the_order_of_their_merge(
    desk: Desk, capsys: Printed
) -> None:
    """Those that are there are marked."""
    await list_dirs(str(desk.project), desk.env)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("/etc/crush/crush.json")
    assert lines[-4:] == [
        f"read {desk.project}/crush.json",
        f"-    {desk.project}/.crush.json",
        f"-    {desk.project}/.crush/crush.json",
        f"data {desk.project}/.crush",
    ]


async def test_directories_that_were_worked_in_are_remembered(tmp_path: Path) -> None:
    """Each once, the last one first; in the form that Crush reads, what it wrote beside it."""
    env = {"CRUSH_GLOBAL_DATA": str(tmp_path)}
    theirs = {"path": "/c", "data_dir": "/c/.crush", "last_accessed": "2026-01-01T00:00:00.5Z"}
    (tmp_path / "projects.json").write_text(json.dumps({"projects": [theirs], "more": 1}))
    for moment, name in ((1_800_000_000, "a"), (1_800_000_100, "b"), (1_800_000_200, "a")):
        await remember_project(env, Path("/", name), Path("/", name, ".crush"), moment)
    found = [(each.path, each.last_accessed) for each in read_projects(env)]
    assert found == [
        ("/a", "2027-01-15T08:03:20Z"),
        ("/b", "2027-01-15T08:01:40Z"),
        ("/c", "2026-01-01T00:00:00.5Z"),
    ]
    assert json.loads((tmp_path / "projects.json").read_text())["more"] == 1


async def test_projects_are_printed(desk: Desk, capsys: Printed) -> None:
    """As lines, and as JSON."""
    row = {"path": "/a", "data_dir": "/a/.crush", "last_accessed": "2027-01-15T08:03:20Z"}
    await remember_project(desk.env, Path("/a"), Path("/a/.crush"), 1_800_000_200)
    list_projects(desk.env, as_json=False)
    assert capsys.readouterr().out == "2027-01-15T08:03:20  /a\n"
    list_projects(desk.env, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"projects": [row]}


EXAMPLE: dict[str, Any] = {
    "$schema": "https://charm.land/crush.json",
    "models": {"large": {"provider": "anthropic", "model": "claude-x", "think": True}},
    "providers": {
        "anthropic": {"api_key": "$ANTHROPIC_API_KEY"},
        "local": {
            "type": "ollama",
            "base_url": "http://localhost:11434/v1",
            "extra_headers": {"X-Team": "${TEAM:-none}"},
            "models": [{"id": "qwen3:8b", "cost_per_1m_in": 0, "can_reason": False}],
        },
    },
    "permissions": {"allowed_tools": ["view", "edit:write"]},
    "options": {"context_paths": ["docs/A.md"], "tui": {"diff_mode": "split"}},
    "lsp": {"gopls": {"command": "gopls", "env": {"GOFLAGS": "-mod=mod"}}},
    "mcp": {"github": {"type": "http", "url": "https://x/", "headers": {"A": "b"}, "timeout": 60}},
    "hooks": {"PreToolUse": [{"matcher": "^bash$", "command": "./guard.sh", "timeout": 10}]},
    "tools": {"grep": {"timeout": "10s"}, "glob": {"timeout": 5_000_000_000}},
    "theirs": {"unknown": [1, None]},
}


def test_the_schema_takes_what_the_server_takes(capsys: Printed) -> None:
    """Unknown keys, too; it is printed as one JSON value."""
    with pytest.raises(SystemExit):
        main(["schema"])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(config_schema()))
    assert jsonschema_rs.meta.is_valid(config_schema())
    jsonschema_rs.validate(config_schema(), EXAMPLE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": {"debug": "yes"}},
        {"providers": {"p": {"type": "telepathy"}}},
        {"providers": {"p": {"models": [{"id": 5}]}}},
        {"mcp": {"m": {"type": "carrier pigeon"}}},
        {"hooks": {"PreToolUse": [{"matcher": "x"}]}},
        {"options": {"notifications": "loud"}},
    ],
)
def test_the_schema_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    """So that an editor can mark it."""
    assert not jsonschema_rs.is_valid(config_schema(), wrong)
