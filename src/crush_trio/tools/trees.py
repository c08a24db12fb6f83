"""Directory trees: walking one down to a limit, and drawing it (agent contract 2.12).

Below the tool ``ls``. Level by level, so that a limit cuts off the depths and not the alphabet.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

import attrs
import trio

from crush_trio.tools.ignores import Ignores

WIDTH_FACTOR = 10
"""Entries of one directory that are looked at, as a multiple of the limit of the whole tree."""


@attrs.define(eq=False)
class Tree:
    """A directory: its path, what was found in it, and how deep it is below the top."""

    path: str
    level: int = 0
    directories: dict[str, Tree] = attrs.field(factory=dict[str, "Tree"], init=False)
    files: list[str] = attrs.field(factory=list[str], init=False)

    def draw(self) -> str:
        """Return the tree as an indented list, directories first."""
        return "".join(f"{line}\n" for line in self.lines(self.path.rstrip("/")))

    def lines(self, name: str) -> Iterator[str]:
        """Yield the lines of this directory, by which it is called ``name``."""
        yield f"{'  ' * self.level}- {name}/"
        for child, tree in self.directories.items():
            yield from tree.lines(child)
        for file in self.files:
            yield f"{'  ' * (self.level + 1)}- {file}"


@attrs.frozen
class Listing:
    """A tree, how many entries it has, and whether there would have been more."""

    tree: Tree
    count: int
    truncated: bool


async def list_tree(
    root: str, ignores: Ignores, *, patterns: Collection[str], depth: int, limit: int
) -> Listing:
    """Walk a directory tree; a checkpoint after every directory.

    Links to directories are followed, into each directory once.

    Args:
        root: The top directory.
        ignores: The rules of the top directory.
        patterns: Globs of base names that are passed over, too.
        depth: Levels to show, 0 for all.
        limit: Entries to show.
    """
    top = Tree(root)
    waiting = deque([(top, ignores)])
    seen: set[tuple[int, int]] = set()
    count = 0
    while waiting:
        await trio.lowlevel.checkpoint()
        tree, rules = waiting.popleft()
        if not _first_visit(tree.path, seen):
            continue
        for name, is_dir in _entries(tree.path, rules, patterns, WIDTH_FACTOR * limit):
            if count == limit:
                return Listing(top, count, truncated=True)
            count += 1
            if not is_dir:
                tree.files.append(name)
                continue
            child = tree.directories[name] = Tree(str(Path(tree.path, name)), tree.level + 1)
            if not depth or child.level < depth:
                waiting.append((child, rules.below(child.path)))
    return Listing(top, count, truncated=False)


def _first_visit(path: str, seen: set[tuple[int, int]]) -> bool:
    try:
        found = Path(path).stat()
    except OSError:  # gone in the meantime
        return False
    place = found.st_dev, found.st_ino
    if place in seen:
        return False
    seen.add(place)
    return True


def _entries(
    directory: str, rules: Ignores, patterns: Collection[str], width: int
) -> list[tuple[str, bool]]:
    """Return the names of a directory and whether they are directories, sorted, these first."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, _is_dir(entry)) for entry in islice(entries, width)]
    except OSError:  # not ours to read: shown, but empty
        return []
    return sorted(
        (
            (name, is_dir)
            for name, is_dir in found
            if not any(fnmatchcase(name, pattern) for pattern in patterns)
            and not rules.hides(str(Path(directory, name)), is_dir=is_dir)
        ),
        key=lambda entry: (not entry[1], entry[0]),
    )


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
