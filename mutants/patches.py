"""Mutants as files: a few header lines and a unified diff; and how one is applied to a tree.

The header names what the fault is and what must find it::

    # fault: the end of a run is told twice
    # promises: R8
    # tests: tests/runs/test_lane.py::test_runs_execute_one_at_a_time

``tests`` is one test or several, separated by spaces; each of them must carry the mark of each
promise. A fault that only an interleaving shows is found by the sweep and by nothing else::

    # sweep: SCENARIO / DISTURBANCE
    # survives: tests/runs/test_lane.py

(``survives`` may say ``--deselect=TEST``, of a test that was made when the sweep had found the fault.)
A hunk is found by its lines and not by its numbers; what it removes, with the lines around it, must
be there exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

HERE = Path(__file__).parent
ROOT = HERE.parent

HEADERS = {"fault", "promises", "tests", "sweep", "survives"}


class PatchError(Exception):
    """A mutant that makes no sense, or does not apply any more."""


@attrs.frozen
class Hunk:
    """Lines of a file before and after."""

    file: str
    before: str
    after: str


@attrs.frozen
class Mutant:
    """One planted fault.

    Attributes:
        name: The file's.
        fault: What is wrong with it, in words.
        promises: What it breaks.
        tests: What must find it, by node id.
        sweep: The scenario and the disturbance whose sweep must find it; empty if tests do.
        survives: Tests that must pass in spite of it, and options of pytest.
    """

    name: str
    fault: str
    promises: tuple[str, ...]
    hunks: tuple[Hunk, ...]
    tests: tuple[str, ...] = ()
    sweep: tuple[str, ...] = ()
    survives: tuple[str, ...] = ()

    @property
    def modules(self) -> list[str]:
        """The modules that it changes."""
        files = {hunk.file.removeprefix("src/").removesuffix(".py") for hunk in self.hunks}
        return sorted(file.replace("/", ".").removesuffix(".__init__") for file in files)

    def apply(self, root: Path) -> None:
        """Change the files below ``root``.

        Raises:
            PatchError: something that it changes is not there, or not once.
        """
        for hunk in self.hunks:
            path = root / hunk.file
            if not path.exists():
                raise PatchError(f"{self.name}: there is no {hunk.file}")
            text = path.read_text("utf-8")
            if (count := text.count(hunk.before)) != 1:
                raise PatchError(
                    f"{self.name}: {hunk.file} has these lines {count} times:\n{hunk.before}"
                )
            path.write_text(text.replace(hunk.before, hunk.after), "utf-8")


def parse(name: str, text: str) -> Mutant:
    """Return the mutant in a patch file.

    Raises:
        PatchError: a header or the diff makes no sense.
    """
    lines = text.splitlines()
    headers: dict[str, str] = {}
    while lines and lines[0].startswith("# "):
        key, colon, value = lines.pop(0)[2:].partition(": ")
        if not colon or key not in HEADERS or key in headers:
            raise PatchError(f"{name}: the header {key!r} is not known, or stands there twice")
        headers[key] = value.strip()
    hunks = tuple(_hunks(name, lines))
    if not headers.keys() >= {"fault", "promises"} or not hunks:
        raise PatchError(f"{name}: a fault, its promises and a diff are needed")
    if ("tests" in headers) == ("sweep" in headers) or ("sweep" in headers) != (
        "survives" in headers
    ):
        raise PatchError(f"{name}: either tests, or a sweep and what survives it, are needed")
    words = {key: tuple(value.split()) for key, value in headers.items() if key != "fault"}
    if "sweep" in headers:
        words["sweep"] = tuple(headers["sweep"].split(" / "))
    return Mutant(name, headers["fault"], hunks=hunks, **words)


def _hunks(name: str, lines: list[str]) -> Iterator[Hunk]:
    file, before, after = "", list[str](), list[str]()
    for line in [*lines, "@@"]:
        if line.startswith(("--- ", "+++ ", "@@")):
            if before or after:
                yield Hunk(file, "".join(before), "".join(after))
                before, after = [], []
            if line.startswith("+++ b/"):
                file = line.removeprefix("+++ b/")
        elif line[:1] not in {" ", "-", "+", ""}:
            raise PatchError(f"{name}: not a line of a diff: {line!r}")
        else:
            if line[:1] != "+":
                before.append(line[1:] + "\n")
            if line[:1] != "-":
                after.append(line[1:] + "\n")


def all_mutants() -> list[Mutant]:
    """Return the mutants beside this file, in the order of their names."""
    return [parse(path.stem, path.read_text("utf-8")) for path in sorted(HERE.glob("*.patch"))]
