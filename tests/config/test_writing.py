"""Changing a configuration file (agent contract 3.9)."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crush_trio.config.writing import LOCK_TIMEOUT, edit, section
from crush_trio.errors import BadRequestError, ConfigError


def add(document: dict[str, Any]) -> None:
    document["new"] = {"a": [1, None]}


async def test_a_missing_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """With its directory; in one line, as Crush writes it."""
    path = tmp_path / "made" / "crush.json"
    await edit(path, add)
    assert path.read_text() == '{"new":{"a":[1,null]}}'
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "crush.json",
        "crush.json.lock",
    ]


async def test_unknown_keys_their_order_and_the_layout_survive(tmp_path: Path) -> None:
    """Also values that mean nothing to us, and characters beyond ASCII."""
    path = tmp_path / "crush.json"
    text = (
        '{\n    "zoo": "\u00e4\u4e16",\n    "options": {\n        "mine": [1.5, null]\n    }\n}\n'
    )
    path.write_text(text)
    await edit(path, lambda document: section(document, "options").update(debug=True))
    assert path.read_text() == text.replace("]\n    }", '],\n        "debug": true\n    }').replace(
        "[1.5, null]", "[\n            1.5,\n            null\n        ]"
    )
    assert list(json.loads(path.read_text())) == ["zoo", "options"]


async def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Many keep their configuration elsewhere and link to it."""
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    path = tmp_path / "crush.json"
    path.symlink_to(real)
    await edit(path, add)
    assert path.is_symlink()
    assert json.loads(real.read_text()) == {"new": {"a": [1, None]}}


@pytest.mark.promise("C4")
@pytest.mark.parametrize(("text", "words"), [("{", "not valid JSON"), ("[]", "not a JSON object")])
async def test_a_broken_file_is_refused_and_left_as_it_is(
    tmp_path: Path, text: str, words: str
) -> None:
    """What somebody began to write is not thrown away."""
    path = tmp_path / "crush.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        await edit(path, add)
    assert str(path) in str(caught.value)
    assert path.read_text() == text


async def test_a_change_that_raises_writes_nothing(tmp_path: Path) -> None:
    """And gives the lock back."""
    path = tmp_path / "crush.json"
    path.write_text('{"a":1}')

    def refuse(document: dict[str, Any]) -> None:
        document.clear()
        raise BadRequestError("no")

    with pytest.raises(BadRequestError):
        await edit(path, refuse)
    assert path.read_text() == '{"a":1}'
    await edit(path, add)


async def test_a_value_that_is_nested_too_deeply_is_refused_and_writes_nothing(
    tmp_path: Path,
) -> None:
    """A client may send what our JSON can read and Python's cannot write."""
    path = tmp_path / "crush.json"
    path.write_text("{}")
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ConfigError, match="nested too deeply"):
        await edit(path, lambda document: document.update(deep))
    assert path.read_text() == "{}"


async def test_a_place_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Here the directory is a file."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/crush\.json cannot be written"):
        await edit(tmp_path / "file" / "crush.json", add)


async def test_another_program_that_writes_is_waited_for(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And given up when it keeps the lock for too long."""
    path = tmp_path / "crush.json"
    with (tmp_path / "crush.json.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = trio.current_time()
        with pytest.raises(ConfigError, match="being changed by another program"):
            await edit(path, add)
        assert trio.current_time() - began == pytest.approx(LOCK_TIMEOUT)
        assert not path.exists()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(edit, path, add)
            await wait_all_tasks_blocked()
            fcntl.flock(held, fcntl.LOCK_UN)
    assert path.exists()


async def test_changes_at_the_same_time_are_all_there(tmp_path: Path) -> None:
    """Each reads what the one before it wrote."""
    path = tmp_path / "crush.json"

    async def change(key: str) -> None:
        await edit(path, lambda document: document.update({key: 1}))

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(change, str(number))
    assert json.loads(path.read_text()).keys() == {str(number) for number in range(20)}


def test_a_section_is_an_object_or_an_error() -> None:
    """It is made if it is missing, or null."""
    document: dict[str, Any] = {"a": None, "b": 5}
    section(document, "a", "x")["y"] = 1
    assert document == {"a": {"x": {"y": 1}}, "b": 5}
    with pytest.raises(ConfigError, match="b is not an object"):
        section(document, "b", "c")
