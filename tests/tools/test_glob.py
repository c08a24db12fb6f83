"""``glob``: what is found in each of the ways, and how it is shown."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import trio

from crush_trio.tools.base import ToolAnswer
from crush_trio.tools.glob import TRUNCATED
from crush_trio.wire.config import ToolsConfig
from limits_kit import REAL_LIMIT
from search_kit import WAYS, open_both, open_search, plant, search, short
from tools_kit import Ear, is_alive, open_ear

both_ways = pytest.mark.parametrize("way", list(WAYS))


def lines(answer: ToolAnswer, root: Path) -> list[str]:
    """Return what is named, relative to the root."""
    assert not answer.is_error
    return [os.path.relpath(line, root) for line in answer.content.splitlines()]


def hanging_ripgrep(directory: Path, ear: Ear) -> str:
    """Make a ripgrep that says its number and then nothing more; return the ``PATH`` with it."""
    directory.mkdir()
    program = directory / "rg"
    program.write_text(f"#!/bin/sh\necho $$ >{ear.path}\nexec sleep 300\n")
    program.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


@both_ways
async def test_recorded_search(tmp_path: Path, way: str) -> None:
    """Recorded case ``tool/ls-glob-grep``."""
    plant(tmp_path, {"src/x.py": "", "src/y.py": ""})
    answer = await search(tmp_path, way, "glob", pattern="**/x.py", path=str(tmp_path / "src"))
    assert answer.content == f"{tmp_path}/src/x.py"
    assert answer.metadata == {"number_of_files": 1, "truncated": False}


@both_ways
async def test_nothing_found_is_said_so(tmp_path: Path, way: str) -> None:
    """And is no error, also where the directory is part of the pattern; ``path`` must be there."""
    plant(tmp_path, {"a": ""})
    for pattern in ("*.py", "none/*.py", "a/b", "none/"):
        answer = await search(tmp_path, way, "glob", pattern=pattern)
        assert (answer.content, answer.is_error) == ("No files found", False)
        assert answer.metadata == {"number_of_files": 0, "truncated": False}
    answer = await search(tmp_path, way, "glob", pattern="*", path="none")
    assert answer.is_error
    assert f"is not a directory, or does not exist: {tmp_path}/none" in answer.content
    answer = await search(tmp_path, way, "glob", pattern="")
    assert answer.content == "pattern is required"
    answer = await search(tmp_path, way, "glob", pattern="[")
    assert "glob '/[' makes no sense" in answer.content


TREE: dict[str, str | bytes] = {
    ".git/": "",
    ".gitignore": "*.tmp\n/secret/\n",
    "long/way/down/a.py": "",
    "b.py": "",
    ".hidden.py": "",
    "c.ts": "",
    "src/d.tsx": "",
    "src/e.tmp": "",
    "secret/f.py": "",
    "node_modules/g.py": "",
    "src/vendor/h.py": "",
    ".git/i.py": "",
    ".github/j.yml": "",
}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.py", "b.py"),
        ("**/*.py", "b.py long/way/down/a.py"),
        ("*.{py,ts}", "b.py c.ts"),
        ("src/*.tsx", "src/d.tsx"),
        ("src/**", "src/d.tsx"),
        ("long/**/a.py", "long/way/down/a.py"),
        ("b.py", "b.py"),
        (".github/*.yml", ".github/j.yml"),
        (".hidden*", ".hidden.py"),
        ("src/../*.ts", "c.ts"),
    ],
)
async def test_both_ways_find_what_is_meant(tmp_path: Path, pattern: str, names: str) -> None:
    """Without hidden files, dependencies and build results, unless they are asked for."""
    plant(tmp_path, TREE)
    (tmp_path / "link.py").symlink_to("b.py")
    async with open_both(tmp_path) as boxes:
        for box in boxes:
            found = lines(await box.call("glob", pattern=pattern), tmp_path)
            wanted = [name for name in found if "e.tmp" not in name]  # ripgrep: asked for by name
            assert sorted(wanted) == names.split()
            absolute = await box.call("glob", pattern=str(tmp_path / pattern), path="src")
            assert sorted(lines(absolute, tmp_path)) == sorted(found)


async def test_the_shortest_or_the_newest_come_first(tmp_path: Path) -> None:
    """Agent contract 2.10: by length with ripgrep, by time without it."""
    plant(tmp_path, {"long/way/a.py": "", "way/b.py": "", "c.py": ""})
    async with open_both(tmp_path) as (ripgrep, python):
        by_length = lines(await ripgrep.call("glob", pattern="**/*.py"), tmp_path)
        by_time = lines(await python.call("glob", pattern="**/*.py"), tmp_path)
    assert by_length == ["c.py", "way/b.py", "long/way/a.py"]
    assert by_time == ["long/way/a.py", "way/b.py", "c.py"]


@both_ways
async def test_at_most_a_hundred_files_are_named(tmp_path: Path, way: str) -> None:
    """A hundred are not truncated, one more is."""
    plant(tmp_path, {f"{number:03}": "" for number in range(101)})
    answer = await search(tmp_path, way, "glob", pattern="*")
    assert answer.metadata == {"number_of_files": 100, "truncated": True}
    assert answer.content.endswith(f"{tmp_path}/099\n\n{TRUNCATED}")
    (tmp_path / "100").unlink()
    answer = await search(tmp_path, way, "glob", pattern="*")
    assert answer.metadata == {"number_of_files": 100, "truncated": False}


async def test_ripgrep_is_stopped_when_it_has_found_enough(tmp_path: Path) -> None:
    """What is passed over does not count towards that."""
    program = tmp_path / "bin" / "rg"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\nyes .git/x | tr '\\n' '\\0' | head -c 99999\nyes | tr '\\n' '\\0'\n"
    )
    program.chmod(0o755)
    with trio.fail_after(REAL_LIMIT):
        async with open_search(tmp_path, f"{program.parent}:{os.environ['PATH']}") as box:
            answer = await box.call("glob", pattern="*")
    assert answer.metadata == {"number_of_files": 100, "truncated": True}


async def test_a_search_takes_no_longer_than_configured(tmp_path: Path) -> None:
    """``tools.glob.timeout``; the model is told what to do, and ripgrep is gone."""
    with trio.fail_after(REAL_LIMIT):
        async with open_ear(tmp_path) as ear:
            programs = hanging_ripgrep(tmp_path / "bin", ear)
            async with open_search(tmp_path, programs, ToolsConfig(glob=short(300))) as box:
                answer = await box.call("glob", pattern="*")
            assert answer.is_error
            assert "glob did not end within 0.3 seconds" in answer.content
            assert not is_alive(await ear.pid())


@pytest.mark.promise("R11")
@pytest.mark.parametrize("tool", ["glob", "grep"])
async def test_a_cancelled_search_leaves_no_ripgrep(tmp_path: Path, tool: str) -> None:
    """It is killed and waited for."""
    with trio.fail_after(REAL_LIMIT):
        async with open_ear(tmp_path) as ear:
            programs = hanging_ripgrep(tmp_path / "bin", ear)
            async with open_search(tmp_path, programs) as box, trio.open_nursery() as nursery:
                nursery.start_soon(partial(box.call, tool, pattern="x"))
                pid = await ear.pid()
                assert is_alive(pid)
                nursery.cancel_scope.cancel("test")
            assert not is_alive(pid)
