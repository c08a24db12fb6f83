"""Searching files for a pattern without ripgrep, with the results that it would have (agent contract 2.11).

Above it is the tool ``grep``. It runs in a worker thread and asks again and again whether it is
still wanted; one line may keep it from asking for :data:`PATIENCE` seconds at most.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from crush_trio.errors import BadRequestError
from crush_trio.tools.globs import Globs
from crush_trio.tools.ripgrep_rules import Rules, rules_for

if TYPE_CHECKING:
    from regex import Pattern

PATIENCE = 0.5
"""Seconds that matching one line may take; patterns can be made that take years."""

LARGEST = 64 * 2**20
"""Bytes of a file that is searched; larger ones are passed over."""

BUFFER = 64 * 2**10
"""Bytes at the beginning of a file in which ripgrep looks for what makes it no text; later on it
searches what is in front of it."""

_KEPT = 10_000
"""Matches that are remembered before all but those to be shown are forgotten."""

_LINES = 1000
"""Lines between two questions whether the search is still wanted."""


@attrs.frozen(order=True)
class Match:
    """A line that matches, in the order in which matches are shown: of the newest file first.

    Attributes:
        age: Nanoseconds from its file's last change to the epoch: the more negative the newer.
        column: Where the first match begins, in bytes from 1.
    """

    age: int
    path: str
    line: int
    column: int = attrs.field(order=False)
    text: str = attrs.field(order=False)


@attrs.frozen
class Search:
    """What to look for, and where.

    Attributes:
        place: A directory or a file, absolute.
        include: Which files; all if None.
        most: Matches that are returned.
        env: Tells where the user's own ignore files are.
    """

    pattern: str
    place: str
    include: Globs | None
    literal: bool
    most: int
    env: Mapping[str, str]

    def run(self, wanted: Callable[[], object]) -> list[Match]:
        """Return the matches, those of the newest files first; blocks.

        Args:
            wanted: Called often; raises when the search is no longer wanted.

        Raises:
            BadRequestError: the pattern makes no sense, or matching it takes too long.
        """
        compiled = _compile(self.pattern, literal=self.literal)
        found: list[Match] = []
        for path in self._files(wanted):
            wanted()
            found += _search_file(path, compiled, self.most, wanted)
            if len(found) > _KEPT:
                found = sorted(found)[: self.most]
        return sorted(found)[: self.most]

    def _files(self, wanted: Callable[[], object]) -> Iterator[str]:
        if not Path(self.place).is_dir():
            yield self.place
            return
        waiting = [(self.place, rules_for(self.place, self.include, self.env))]
        while waiting:
            wanted()
            directory, rules = waiting.pop()
            for entry in _entries(directory, rules):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, rules.below(entry.path, self.env)))
                else:
                    yield entry.path


def _entries(directory: str, rules: Rules) -> list[os.DirEntry[str]]:
    """Return the files and directories to look at; links are followed by nobody."""
    try:
        with os.scandir(directory) as entries:
            return [
                entry
                for entry in entries
                if (is_dir := entry.is_dir(follow_symlinks=False))
                | entry.is_file(follow_symlinks=False)
                and not rules.hides(entry.path, is_dir=is_dir)
            ]
    except OSError:  # not ours to read, or gone
        return []


def _compile(pattern: str, *, literal: bool) -> Pattern[str]:
    import regex  # noqa: PLC0415 - at first use: imports cost start-up time

    try:
        return regex.compile(regex.escape(pattern) if literal else pattern)
    except (regex.error, RecursionError, OverflowError) as failure:
        raise BadRequestError(f"pattern {pattern!r} makes no sense: {failure}") from None


def _search_file(
    path: str, compiled: Pattern[str], most: int, wanted: Callable[[], object]
) -> list[Match]:
    try:
        found = Path(path).stat()
        if found.st_size > LARGEST:
            return []
        data = Path(path).read_bytes()
    except OSError:  # not ours to read, or gone
        return []
    end = data.find(b"\0")
    if 0 <= end < BUFFER:  # no text
        return []
    if end >= 0:
        data = data[:end]
    matches: list[Match] = []
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    for number, line in enumerate(lines, 1):
        if number % _LINES == 0:
            wanted()
        text = line.decode(errors="surrogateescape")
        start = _first(compiled, text)
        if start is not None:
            column = len(text[:start].encode(errors="surrogateescape")) + 1
            shown = line.decode(errors="replace")
            matches.append(Match(-found.st_mtime_ns, path, number, column, shown))
            if len(matches) == most:
                break
    return matches


def _first(compiled: Pattern[str], text: str) -> int | None:
    """Return where a line matches first, or None; other threads go on meanwhile."""
    try:
        found = compiled.search(text, timeout=PATIENCE, concurrent=True)
    except TimeoutError:
        raise BadRequestError(
            f"pattern {compiled.pattern!r} takes too long to match; make it simpler"
        ) from None
    return None if found is None else found.start()
