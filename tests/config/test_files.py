"""Configuration files: which are read, and what is said of a bad one (agent contract 3.1)."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from crush_trio.config.files import Source, decode, read, sources
from crush_trio.config.paths import find_project
from crush_trio.errors import ConfigError


def test_files_are_ordered_from_the_outermost_to_the_innermost(tmp_path: Path) -> None:
    """The user's file, the program's file, then the project's, dotted after plain."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "a").mkdir()
    found = sources(find_project(tmp_path / "a"), {"HOME": "/h"})
    assert [str(source.path) for source in found] == [
        "/etc/crush/crush.json",
        "/h/.config/crush/crush.json",
        "/h/.local/share/crush/crush.json",
        f"{tmp_path}/crush.json",
        f"{tmp_path}/.crush.json",
        f"{tmp_path}/a/crush.json",
        f"{tmp_path}/a/.crush.json",
    ]
    assert [source.owner for source in found] == [None, None, None, *[os.geteuid()] * 4]


def test_a_global_file_inside_the_project_is_read_once(tmp_path: Path) -> None:
    """Its arrays would be doubled otherwise."""
    found = sources(find_project(tmp_path), {"HOME": "/h", "CRUSH_GLOBAL_CONFIG": str(tmp_path)})
    assert [source.path for source in found].count(tmp_path / "crush.json") == 1


@pytest.mark.parametrize("text", ["", " \n", "null", "{}"])
def test_a_file_that_says_nothing_is_an_empty_document(tmp_path: Path, text: str) -> None:
    """Empty files are skipped."""
    path = tmp_path / "crush.json"
    path.write_text(text)
    assert read(Source(path)) == {}


def test_an_absent_file_is_an_empty_document(tmp_path: Path) -> None:
    """Neither the file nor its directory need exist."""
    (tmp_path / "file").touch()
    assert read(Source(tmp_path / "crush.json")) == {}
    assert read(Source(tmp_path / "none" / "crush.json")) == {}
    assert read(Source(tmp_path / "file" / "crush.json")) == {}


def test_a_project_file_of_another_user_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A planted file does nothing, not even when it is broken, and is mentioned in the log."""
    path = tmp_path / "crush.json"
    path.write_text("{")
    with caplog.at_level(logging.WARNING):
        assert read(Source(path, owner=os.geteuid() + 1)) == {}
    assert [str(path) in text for text in caplog.messages] == [True]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"options": ', "not valid JSON: input data was truncated"),
        (b'{"options":\n\n nope}', "not valid JSON: invalid character in line 3"),
        (b"\n\n{]", "not valid JSON: .* in line 3"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1e999}', "not valid JSON: number out of range"),
        (b"[]", "expected `object`, got `array`"),
        (b'{"options":\n{"debug": "yes"}}', "line 2: options.debug: expected `bool`, got `str`"),
        (b'{"providers": []}', "line 1: providers: expected `object`, got `array`"),
        (
            b'{"providers": {"ok": {"models": []}, "o.p": {\n"models": [null, {},\n{"id": 5}]}}}',
            r"line 2: providers.o.p.models\[0\]: expected `object`, got `null`",
        ),
        (
            b'{"providers": {"ok": {"models": []}, "bad": {\n"models": [{},\n{"id": 5}]}}}',
            r"line 3: providers.bad.models\[1\].id: expected `str`, got `int`",
        ),
        (b'{"env": {"A": "x",\n "B": 1}}', "line 2: env.B: expected `str`, got `int`"),
        (b'{"tools": {"grep": {"timeout": "soon"}}}', "tools.grep.timeout: expected `int"),
    ],
)
@pytest.mark.promise("C4")
def test_a_bad_file_is_an_error_that_names_it_and_the_place(
    tmp_path: Path, raw: bytes, why: str
) -> None:
    """The user learns which file, which key and what is wrong with it."""
    path = tmp_path / "crush.json"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=why) as caught:
        read(Source(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_not_a_regular_file_is_an_error_and_never_waited_for(
    tmp_path: Path, kind: str
) -> None:
    """A pipe without a writer cannot hold up the server."""
    path = tmp_path / "crush.json"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with pytest.raises(ConfigError, match=r"crush\.json: not a regular file"):
        read(Source(path))


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """Not to be able to read is not the same as absence."""
    path = tmp_path / "crush.json"
    path.symlink_to(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(Source(path))


def test_null_counts_as_absent_but_for_values_that_are_passed_on() -> None:
    """Go reads null into the zero value; a request body may need it."""
    body = {"stop": None, "deep": {"a": None}}
    config = decode(
        {
            "models": None,
            "options": {"debug": None, "tui": {"scrollbar": None}},
            "providers": {"p": {"name": None, "extra_body": body, "models": [{"name": None}]}},
        }
    )
    assert isinstance(config.providers, dict)
    assert config.providers["p"].extra_body == body
    assert config.providers["p"].models[0].name == ""


def test_unknown_keys_are_ignored() -> None:
    """A newer file does not stop an older program."""
    assert decode({"future": {"a": 1}, "options": {"later": True}}).models == {}
