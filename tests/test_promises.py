"""The manifest: every promise that the docs claim has a test, and every test names one that exists.

The list is ``docs/promises.md``. A promise is a line that begins with ``- **R1 Short name.**``; the
section "Not yet claimed" at the end of the file holds the ids of those that are described there but
not kept yet. Tests name promises with ``@pytest.mark.promise("R1", "R4")``; they are found by
parsing the test files, so that no test has to be run, or even imported, for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MANIFEST = TESTS.parent / "docs" / "promises.md"

_PROMISE = re.compile(r"^- \*\*([A-Z]\d+) \S", re.MULTILINE)
_HEADING = re.compile(r"^## Not yet claimed$", re.MULTILINE)
_ID = re.compile(r"\b[A-Z]\d+\b")


def manifest(text: str) -> tuple[list[str], set[str]]:
    """Return the ids of all promises, in order, and of those that are not claimed yet."""
    listed = _PROMISE.findall(text)
    _, _, closing = text.partition(found[0] if (found := _HEADING.findall(text)) else "\0")
    return listed, set(_ID.findall(closing))


def named(source: str) -> Iterator[tuple[str, str]]:
    """Yield each promise that a test file names, with the name of the test that proves it."""
    tree = ast.parse(source)
    lists = {
        target.id: _texts(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple | ast.List)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                yield from ((each, node.name) for each in _promises(decorator, lists))
        elif isinstance(node, ast.Assign):  # ``pytestmark = pytest.mark.promise(...)``
            yield from ((each, "the whole file") for each in _promises(node.value, lists))


def _promises(node: ast.AST, lists: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the arguments of every ``pytest.mark.promise(...)`` inside a node.

    Each is a text, or a star and the name of a tuple of texts at the top of the file.
    """
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.promise":
            for argument in call.args:
                if isinstance(argument, ast.Starred):
                    yield from lists[ast.unparse(argument.value)]
                else:
                    yield from _texts(argument)


def _texts(node: ast.AST) -> list[str]:
    """Return the texts in a constant, or in a tuple or list of them."""
    return [str(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant)]


def all_named() -> dict[str, list[str]]:
    """Return the tests of each promise that any test names."""
    found: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for promise, test in named(file.read_text(encoding="utf-8")):
            found.setdefault(promise, []).append(f"{file.relative_to(TESTS)}::{test}")
    return found


def test_every_claimed_promise_has_a_test() -> None:
    """What the docs promise is proved by something that runs."""
    listed, unclaimed = manifest(MANIFEST.read_text(encoding="utf-8"))
    proved = all_named()
    assert [promise for promise in listed if promise not in unclaimed | proved.keys()] == []


def test_no_test_names_a_promise_that_does_not_exist() -> None:
    """A renamed promise takes its tests with it."""
    listed, _ = manifest(MANIFEST.read_text(encoding="utf-8"))
    unknown = {promise: tests for promise, tests in all_named().items() if promise not in listed}
    assert unknown == {}


def test_the_manifest_is_well_formed() -> None:
    """Each promise stands there once, and only what stands there can be unclaimed."""
    listed, unclaimed = manifest(MANIFEST.read_text(encoding="utf-8"))
    assert len(listed) == len(set(listed)) > 30
    assert unclaimed <= set(listed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- **R1 Once.** x\n- **S2 Never.** y R3\n", (["R1", "S2"], set[str]())),
        ("- **R1 Once.** x\n\n## Not yet claimed\n\nA1 (partly) and S5.\n", (["R1"], {"A1", "S5"})),
        ("Some R1 in a text, and **R2** in bold.\n", (list[str](), set[str]())),
    ],
)
def test_a_manifest_is_read_as_it_is_written(
    text: str, expected: tuple[list[str], set[str]]
) -> None:
    """Only a list entry makes a promise, only the closing section takes one back."""
    assert manifest(text) == expected


def test_markers_are_found_on_functions_classes_and_files() -> None:
    """However a test is marked, and not where somebody only mentions it."""
    source = '''
pytestmark = pytest.mark.promise("F1")
SOME = ("L1", "L2")

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.promise("P1"))])
@pytest.mark.promise("R1", "R2")
async def test_one():
    """Not promise("N1")."""

@pytest.mark.promise("C1")
class TestTwo:
    pass

@pytest.mark.promise(*SOME)
def test_three():
    pass
'''
    assert set(named(source)) == {
        ("F1", "the whole file"),
        ("P1", "test_one"),
        ("R1", "test_one"),
        ("R2", "test_one"),
        ("C1", "TestTwo"),
        ("L1", "test_three"),
        ("L2", "test_three"),
    }
