"""Time-outs of tools: numbers as in Crush, or durations as people write them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from crush_trio.config.durations import nanoseconds
from crush_trio.config.files import Source, decode, read
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Timeout


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10s", 10 * 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5s", 1_500_000_000),
        (".5ms", 500_000),
        ("2h", 7200 * 10**9),
        ("7ns", 7),
        ("3us", 3000),
        ("", None),
        ("10", None),
        ("s", None),
        ("10 s", None),
        ("-1s", None),
        ("1s!", None),
        ("x1s", None),
    ],
)
def test_a_duration_is_in_gos_form(text: str, value: int | None) -> None:
    """A number with a unit, or several; nothing else beside them."""
    assert nanoseconds(text) == value


def test_time_outs_may_be_numbers_or_durations() -> None:
    """Agent contract 9.4; clients are told numbers. Other members are not touched."""
    config = decode({"tools": {"grep": {"timeout": "10s"}, "glob": {"timeout": 5}}})
    assert config.tools.grep == Timeout(10 * 10**9)
    assert config.tools.glob == Timeout(5)
    assert msgspec.to_builtins(config.tools) == {
        "grep": {"timeout": 10 * 10**9},
        "glob": {"timeout": 5},
    }
    assert decode({"tools": {"ls": {"max_items": 3}}}).tools.ls.max_items == 3
    assert decode({"tools": None}) == decode({})


@pytest.mark.parametrize("timeout", ['"soon"', "true", '{"s": 1}'])
def test_what_is_no_time_is_refused_with_its_place(tmp_path: Path, timeout: str) -> None:
    """File, line and key are named."""
    path = tmp_path / "crush.json"
    path.write_text(f'{{"tools": {{\n"grep": {{"timeout": {timeout}}}}}}}')
    with pytest.raises(ConfigError, match=r"crush.json: line 2: tools\.grep\.timeout: expected"):
        read(Source(path))


def test_tools_of_a_wrong_shape_are_refused_as_before(tmp_path: Path) -> None:
    """The look at time-outs breaks over none of them."""
    for number, text in enumerate(('{"tools": 5}', '{"tools": {"grep": 5}}', "[]")):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        with pytest.raises(ConfigError, match="expected `object`"):
            read(Source(path))
