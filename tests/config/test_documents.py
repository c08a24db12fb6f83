"""What several files say together, and where in them something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crush_trio.config.documents import Documents, checked
from crush_trio.config.files import decode
from crush_trio.config.positions import Step, line_of, shown
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Hook, Options, SelectedModel

TEXT = """{ "a": 1,
  "list": [
    {"x": "y: {]"}, 5,
    {"deep":
      {"k": null}}
  ], "a":
  2, "\\u00e4": true}"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ([], 1),
        (["list"], 2),
        (["list", 0, "x"], 3),
        (["list", 1], 3),
        (["list", 2, "deep"], 5),
        (["list", 2, "deep", "k"], 5),
        (["a"], 7),
        (["\u00e4"], 7),
        (["none"], None),
        (["list", 9], None),
        (["a", "b"], None),
    ],
)
def test_a_value_has_a_line(path: list[Step], line: int | None) -> None:
    """Of a key that is there twice, the last one counts."""
    assert line_of(TEXT, path) == line


def test_a_path_is_shown_as_people_write_it() -> None:
    """With its positions in brackets."""
    assert shown(["providers", "p", "models", 0, "id"]) == "providers.p.models[0].id"


def merged(*documents: dict[str, Any]) -> Documents:
    result = Documents()
    for document in documents:
        result.add(Path("/nowhere/crush.json"), document)
    return result


def test_recent_models_are_those_of_the_last_file_that_has_them() -> None:
    """They are whole lists, newest first, of at most five."""
    first = {"large": [{"model": "old"}], "small": [{"model": "s"}]}
    later = {"large": [{"model": str(number)} for number in range(7)]}
    recent = merged({"recent_models": first}, {"recent_models": later}).config.recent_models
    assert [model.model for model in recent["large"]] == ["0", "1", "2", "3", "4"]
    assert recent["small"] == (SelectedModel("s"),)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"disable_notifications": True}, "disabled"),
        ({"disable_notifications": False}, ""),
        ({"notification_style": "bell"}, "bell"),
        ({"notification_style": "bell", "notifications": "osc"}, "osc"),
    ],
)
def test_names_of_older_versions_are_understood(options: dict[str, Any], expected: str) -> None:
    """The files themselves are left as they are."""
    document = {"options": dict(options)}
    found = merged(document).config.options
    assert isinstance(found, Options)
    assert found.notifications == expected
    assert document == {"options": options}


def test_a_login_without_its_server_is_a_leftover() -> None:
    """Agent contract 3.6."""
    mcp: dict[str, Any] = {"gone": {"oauth_token": {}}, "here": {"type": "http", "oauth_token": {}}}
    assert list(checked(decode({"mcp": mcp})).mcp) == ["here"]


def test_hooks_go_by_the_names_of_their_events() -> None:
    """Whatever case and underscores they are written with."""
    hook = {"command": "./guard.sh", "matcher": "^bash$"}
    config = decode({"hooks": {"pre_tool_use": [hook], "PreToolUse": [{"command": "x"}]}})
    guard = Hook(command="./guard.sh", matcher="^bash$")
    assert checked(config).hooks == {"PreToolUse": (guard, Hook(command="x"))}


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ({"matcher": "x"}, "command is empty"),
        ({"command": " "}, "command is empty"),
        ({"command": "c", "matcher": "("}, r"matcher '\(' is no regular expression"),
    ],
)
def test_a_hook_that_cannot_be_run_is_an_error(
    hook: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """With file, line and key. A guard that silently never runs would be worse."""
    path = tmp_path / "crush.json"
    document = {"hooks": {"x": [{"command": "fine"}, hook]}}
    path.write_text('{"hooks":\n{"x": [{"command": "fine"},\n' + json.dumps(hook) + "]}}")
    with pytest.raises(ConfigError, match=rf"crush\.json: line 3: hooks\.x\[1\]: {words}"):
        Documents().add(path, document)
