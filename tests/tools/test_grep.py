"""``grep``: what is found, in both ways alike, and how it is shown."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest
import trio

from crush_trio.tools.glob import TRUNCATED
from crush_trio.tools.ripgrep import find_ripgrep
from crush_trio.tools.searching import PATIENCE
from crush_trio.wire.config import ToolsConfig
from limits_kit import REAL_LIMIT
from search_kit import WAYS, open_both, open_search, plant, search, short

both_ways = pytest.mark.parametrize("way", list(WAYS))


def test_the_ways_are_two() -> None:
    """Else the tests below compare one thing with itself."""
    assert find_ripgrep({"PATH": WAYS["ripgrep"]})
    assert find_ripgrep({"PATH": WAYS["python"]}) is None


@both_ways
async def test_matches_are_shown_file_by_file(tmp_path: Path, way: str) -> None:
    """Agent contract 2.11, letter for letter; the newest file first."""
    plant(tmp_path, {"b.py": "\n  x = compute()\ny\nx = 2\n", "a.py": "x = 1", "c.py": "y"})
    answer = await search(tmp_path, way, "grep", pattern="x =")
    assert answer.content == (
        f"Found 3 matches\n{tmp_path}/b.py:\n  Line 2, Char 3: x = compute()\n"
        f"  Line 4, Char 1: x = 2\n\n{tmp_path}/a.py:\n  Line 1, Char 1: x = 1\n"
    )
    assert answer.metadata == {"number_of_matches": 3, "truncated": False}


@both_ways
async def test_recorded_search(tmp_path: Path, way: str) -> None:
    """Recorded case ``tool/ls-glob-grep``."""
    plant(tmp_path, {"src/x.py": "import os\n", "src/y.py": "import sys\n"})
    answer = await search(tmp_path, way, "grep", pattern="import sys", path=str(tmp_path / "src"))
    assert answer.content == (
        f"Found 1 matches\n{tmp_path}/src/y.py:\n  Line 1, Char 1: import sys\n"
    )
    assert answer.metadata == {"number_of_matches": 1, "truncated": False}


@both_ways
async def test_nothing_found_is_said_so(tmp_path: Path, way: str) -> None:
    """And is no error; a directory that is not there is one."""
    plant(tmp_path, {"a": "x"})
    answer = await search(tmp_path, way, "grep", pattern="y")
    assert (answer.content, answer.is_error) == ("No files found", False)
    assert answer.metadata == {"number_of_matches": 0, "truncated": False}
    answer = await search(tmp_path, way, "grep", pattern="y", path="none")
    assert answer.is_error
    assert f"does not exist: {tmp_path}/none" in answer.content
    answer = await search(tmp_path, way, "grep", pattern="")
    assert answer.content == "pattern is required"


@both_ways
@pytest.mark.parametrize(
    "arguments", [{"pattern": "-e"}, {"pattern": "a.b(", "literal_text": True}]
)
async def test_patterns_are_no_options_and_can_be_plain_text(
    tmp_path: Path, way: str, arguments: dict[str, object]
) -> None:
    """A defect of Crush that the contract asks to mend."""
    plant(tmp_path, {"a": "-e\naxb\na.b(c"})
    answer = await search(tmp_path, way, "grep", **arguments)
    assert answer.metadata == {"number_of_matches": 1, "truncated": False}


@both_ways
async def test_long_lines_are_cut_and_places_are_counted_in_bytes(tmp_path: Path, way: str) -> None:
    """At 500 columns; invalid bytes are replaced."""
    plant(tmp_path, {"a": "é" * 600 + "x\r\n", "b": b"\xff\xffx  \n"})
    answer = await search(tmp_path, way, "grep", pattern="x")
    assert f"  Line 1, Char 1201: {'é' * 500}...\n" in answer.content
    assert answer.content.endswith("  Line 1, Char 3: \ufffd\ufffdx\n")


@both_ways
async def test_at_most_a_hundred_matches_are_shown(tmp_path: Path, way: str) -> None:
    """Those of the newest files."""
    plant(tmp_path, {"new": "x\n" * 60, "old": "x\n" * 200})
    answer = await search(tmp_path, way, "grep", pattern="x")
    assert answer.metadata == {"number_of_matches": 100, "truncated": True}
    assert answer.content.startswith(f"Found 100 matches\n{tmp_path}/new:\n")
    assert answer.content.endswith(f"  Line 40, Char 1: x\n\n{TRUNCATED}")


@both_ways
async def test_one_file_can_be_searched(tmp_path: Path, way: str) -> None:
    """Also a hidden one, and one that ``include`` does not mean: it was named."""
    plant(tmp_path, {".git/": "", ".gitignore": ".env\n", ".env": "x"})
    answer = await search(tmp_path, way, "grep", pattern="x", path=".env", include="*.py")
    assert answer.metadata == {"number_of_matches": 1, "truncated": False}


@both_ways
async def test_a_pattern_that_makes_no_sense_is_an_error(tmp_path: Path, way: str) -> None:
    """The model is told so; a look ahead makes sense in both ways."""
    plant(tmp_path, {"a": "ab\nac\n"})
    answer = await search(tmp_path, way, "grep", pattern="(")
    assert answer.is_error
    assert "pattern '(' makes no sense" in answer.content
    answer = await search(tmp_path, way, "grep", pattern="a(?=c)")
    assert "Line 2, Char 1: ac" in answer.content


TREE: dict[str, str | bytes] = {
    ".git/info/exclude": "excluded\n",
    ".gitignore": "*.log\n/top\nbuild/\n!keep.log\n",
    ".ignore": "ignored\n!special.log\n",
    ".crushignore": "crushed\n",
    ".rgignore": "ripped\n",
    "a.py": "x",
    "a.log": "x",
    "keep.log": "x",
    "special.log": "x",
    "top": "x",
    "sub/top": "x",
    "build/a.py": "x",
    "sub/.gitignore": "!a.log\n*.tmp\n/build\n",
    "sub/a.log": "x",
    "sub/a.tmp": "x",
    "sub/build/b.py": "x",
    "sub/deep/a.tmp": "x",
    "sub/deep/a.ts": "x",
    ".hidden": "x",
    ".github/a.yml": "x",
    "excluded": "x",
    "ignored": "x",
    "ripped": "x",
    "crushed": "x",
    "nested/.git/": "",
    "nested/a.log": "x",
    "nested/.gitignore": "a.ts\n",
    "nested/a.ts": "x",
    "node_modules/a.js": "x",
    "binary": b"x\n\0",
    "late": b"x\n" + b"y\n" * 50_000 + b"\0",
    "empty": "",
    "lines": "\n\nx\n\n",
}


INCLUDES = ("", "*.log", "*.{ts,py}", "!*.log", "sub/**", "**", "/a.*", ".*")


@pytest.mark.parametrize("git", [True, False])
@pytest.mark.parametrize("place", ["", "sub", "sub/deep", "nested"])
async def test_both_ways_search_the_same_files(tmp_path: Path, place: str, git: bool) -> None:
    """Ignore files of all kinds, in a work tree and outside, hidden and binary files, and globs."""
    plant(tmp_path, {name: content for name, content in TREE.items() if git or ".git/" not in name})
    async with open_both(tmp_path) as boxes:
        for include in INCLUDES:
            arguments = {"pattern": "x", "path": place, "include": include}
            one, other = [await box.call("grep", **arguments) for box in boxes]
            assert one == other, include


PATTERNS = (
    r"^x",
    r"x$",
    r"\bfoo\b",
    r"fo{2}",
    r"(?i)FOO",
    r"[[:digit:]]+",
    r"\d+",
    r"\s",
    r"[^a]",
    r"é|ß",
    r"\p{Greek}",
    r"(?P<n>f)oo",
    r"a|",
    r"^$",
    r"\w+\s+\w+",
    r".",
    r"\x41",
    r"(a|b)*c",
)


async def test_both_ways_understand_the_same_patterns(tmp_path: Path) -> None:
    """Line by line, with all of Unicode."""
    text = "x foo\nfoobar x\n\n  A1 2\nabac\nstraße é\n\u03bb\u03cc\u03b3\nFOO\ttab\nlast x"
    plant(tmp_path, {"a": text, "b": text.replace("\n", "\r\n")})
    async with open_both(tmp_path) as boxes:
        for pattern in PATTERNS:
            one, other = [await box.call("grep", pattern=pattern) for box in boxes]
            assert one == other, pattern
            assert one.content.startswith("Found ")


async def test_both_ways_agree_on_trees_of_chance(tmp_path: Path) -> None:
    """Names, ignore files and globs by lot; the seed is fixed."""
    chance = random.Random(6)
    names = ["a", "b.py", "c.log", ".d", "e", "f.py"]
    rules = [
        "a",
        "*.py",
        "!b.py",
        "/e",
        "e/",
        "**/c.log",
        "a/*",
        "!a/b.py",
        "#x",
        "\\#a",
        "*",
        "!e",
    ]
    async with open_both(tmp_path) as boxes:
        for number in range(12):
            files: dict[str, str | bytes] = {".git/": ""} if chance.random() < 0.7 else {}
            for _ in range(25):
                steps = [chance.choice(["a", "e", "g", ".d"]) for _ in range(chance.randint(0, 3))]
                if chance.random() < 0.3:
                    kind = chance.choice([".gitignore", ".ignore", ".rgignore"])
                    files["/".join((*steps, kind))] = "\n".join(chance.choices(rules, k=2))
                else:
                    files["/".join((*steps, f"x{chance.choice(names)}"))] = "x"
            plant(tmp_path / str(number), files)
            include = chance.choice(["", "", "*.py", "xa", "!x*.log", "a/**"])
            arguments = {"pattern": "x", "path": str(number), "include": include}
            one, other = [await box.call("grep", **arguments) for box in boxes]
            assert one == other, (include, files)


@both_ways
async def test_a_search_takes_no_longer_than_configured(tmp_path: Path, way: str) -> None:
    """``tools.grep.timeout``; the model is told what to do. A ripgrep that hangs is killed."""
    hang = tmp_path / "bin" / "rg"
    hang.parent.mkdir()
    hang.write_text("#!/bin/sh\nexec sleep 300\n")
    hang.chmod(hang.stat().st_mode | stat.S_IXUSR)
    plant(tmp_path, {"tree/a": "y\n" * 500_000})
    programs = f"{hang.parent}:{os.environ['PATH']}" if way == "ripgrep" else ""
    with trio.fail_after(REAL_LIMIT):
        async with open_search(tmp_path, programs, ToolsConfig(grep=short(100))) as box:
            answer = await box.call("grep", pattern="x")
    assert answer.is_error
    assert "grep did not end within 0.1 seconds" in answer.content


async def test_a_pattern_of_years_costs_half_a_second(tmp_path: Path) -> None:
    """A line cannot be left, but it has a bound of its own; other tasks go on meanwhile."""
    plant(tmp_path, {"a": "a" * 64 + "!"})
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await trio.sleep(PATIENCE / 20)
            ticks += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        answer = await search(tmp_path, "python", "grep", pattern=r"(a|aa)+\1$")
        nursery.cancel_scope.cancel("done")
    assert answer.is_error
    assert "takes too long to match" in answer.content
    assert ticks > 1  # of twenty, on a machine with a core to spare


async def test_a_ripgrep_that_fails_is_done_without(tmp_path: Path) -> None:
    """One that is broken, or too old for an option."""
    program = tmp_path / "bin" / "rg"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    plant(tmp_path, {"src/a": "x"})
    with trio.fail_after(REAL_LIMIT):
        async with open_search(tmp_path / "src", f"{program.parent}:{os.environ['PATH']}") as box:
            found = await box.call("grep", pattern="x")
            named = await box.call("glob", pattern="*")
    assert found.metadata == {"number_of_matches": 1, "truncated": False}
    assert named.content == str(tmp_path / "src" / "a")
