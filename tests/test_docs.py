"""What the pages name is there: modules, files, sessions, commands, options, variables and pages.

Names are looked for in code spans and code blocks; what the pages' own code does is shown by
``testing/test_pages.py``.
"""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from crush_trio.cli.app import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES = [ROOT, ROOT / "src", ROOT / "src" / "crush_trio", ROOT / "tests"]

OTHERS_OPTIONS = {
    "--host",  # Crush's client
    "--now",  # systemctl
    "--quiet",  # pip
    "--user",  # systemctl, journalctl
}
READERS_FILES = {"words.py", "test_words.py"}
"""What the reader of the tutorial writes."""

_CODE = re.compile(r"^```.*?^```|^ {4}\S.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[`\s/])crush-trio ((?!pytest)[a-z].*)")


def code(page: Path) -> str:
    """Return what stands in code spans and blocks, each piece on lines of its own."""
    return "\n".join(found.strip("`") for found in _CODE.findall(page.read_text("utf-8")))


def resolves(name: str) -> bool:
    """Whether a dotted name leads to a module, or to something in one."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def command_of(line: str) -> tuple[click.Command, list[str]]:
    """Return the command that a line calls, and the options that it gives."""
    words = shlex.split(line.replace("[", " ").replace("]", " ").replace("`", " "), comments=True)
    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group):
            break
        known = {each: command.commands.get(each) for each in re.split(r"\\?\|", word)}
        missing = [each for each, found in known.items() if found is None]
        if missing and command is not cli:
            break
        assert not missing, f"crush-trio has no command {word!r}"
        command = next(found for found in known.values() if found is not None)
    return command, [word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)]


def taken_by(command: click.Command) -> set[str]:
    """Return the options of a command; of a group, which may have one that goes unnamed, of all."""
    found = {"--help"}
    for each in command.params:
        found.update(each.opts, each.secondary_opts)
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        found |= taken_by(each)
    return found


def sessions() -> set[str]:
    """Return the names of the sessions of ``noxfile.py``."""
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and "nox.session" in {ast.unparse(each).partition("(")[0] for each in node.decorator_list}
    }


def sources() -> Iterator[str]:
    yield (ROOT / "noxfile.py").read_text("utf-8")
    for folder in ("src", "bench", "fuzz", "mutants", "tests_browser"):
        for path in (ROOT / folder).rglob("*.py"):
            yield path.read_text("utf-8")


@pytest.fixture(name="source", scope="module")
def _source() -> str:
    return "\n".join(sources())


@pytest.fixture(name="page", params=PAGES, ids=lambda page: page.name)
def _page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_module_and_name_is_there(page: Path) -> None:
    """Of those that are written as ``crush_trio.x.y``."""
    named = set(re.findall(r"\bcrush_trio(?:\.\w+)+", page.read_text("utf-8")))
    assert {name for name in named if not resolves(name)} == set()


def test_every_file_is_there(page: Path) -> None:
    """Of those that a code span gives, by its path or, of a Python file, by its name."""
    spans = re.findall(r"`([\w/]+(?:\.py|\.md|\.json|/))`", page.read_text("utf-8"))
    named = {span for span in spans if "/" in span.rstrip("/") or span.endswith((".py", "/"))}
    missing = {
        name
        for name in named - READERS_FILES
        if not name.startswith("/")
        and not any((place / name).exists() for place in PLACES)
        and not ("/" not in name and any((ROOT / "tests").rglob(name)))
    }
    assert missing == set()


def test_every_page_that_is_linked_is_there(page: Path) -> None:
    """With the heading, where the link names one."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", page.read_text("utf-8")):
        name, _, heading = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert heading in anchors, target


def test_every_session_is_there(page: Path) -> None:
    """Of those that ``nox -s`` is told."""
    named = set(re.findall(r"nox -s (\w+)", page.read_text("utf-8")))
    assert named <= sessions()


def test_every_command_is_there_with_its_options(page: Path) -> None:
    """As ``crush-trio`` understands them."""
    for line in _COMMAND.findall(code(page)):
        command, options = command_of(line.partition("`")[0])
        assert set(options) <= taken_by(command), line


def test_every_option_and_variable_is_there(page: Path, source: str) -> None:
    """Of whatever program of ours: some file of the sources must spell it."""
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", code(page))) - OTHERS_OPTIONS
    named |= set(re.findall(r"\bCRUSH_TRIO_\w+", page.read_text("utf-8")))
    assert {
        name for name in named if f'"{name}' not in source and f"/{name}" not in source
    } == set()
