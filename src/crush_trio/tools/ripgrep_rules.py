"""Which files ripgrep would search: its rules, for a search without it (agent contract 2.11).

Below :mod:`crush_trio.tools.searching`. The order of the rules is ripgrep's: what the caller includes
comes first, then the ignore files, kind by kind and the deepest of a kind first, then hidden names.
The files of git count inside of a work tree only, and not beyond its top. Of the user's own rules
only those of git in their usual place are known.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import attrs

from crush_trio.errors import BadRequestError
from crush_trio.tools.globs import Globs, compile_glob

KINDS = (".rgignore", ".ignore", ".gitignore")
"""Ignore files, the strongest kind first."""

EXPLICIT = (".gitignore", ".crushignore")
"""Ignore files of the searched directory that count in any case, the weakest of all."""


@attrs.frozen
class Level:
    """The patterns of one ignore file, and the directory that they are relative to."""

    directory: str
    patterns: tuple[Globs, ...]

    def verdict(self, path: str, *, is_dir: bool) -> bool | None:
        """Return whether an entry itself is ignored, or None if nothing is said about it."""
        relative = os.path.relpath(path, self.directory)
        for pattern in reversed(self.patterns):
            if pattern.matches(relative, is_dir=is_dir):
                return not pattern.negative
        return None


_Levels = tuple[Level, ...]


@attrs.frozen
class Rules:
    """The rules that hold in one directory.

    Attributes:
        root: Where the search begins; ``include`` is relative to it.
        kinds: For each of :data:`KINDS` its files from the top down.
        exclude: What the work tree and the user leave out.
        explicit: The files of :data:`EXPLICIT`.
    """

    root: str
    include: Globs | None
    kinds: tuple[_Levels, ...]
    exclude: _Levels
    explicit: _Levels
    in_git: bool

    def hides(self, path: str, *, is_dir: bool) -> bool:
        """Whether an entry of this directory is passed over."""
        if self.include is not None:
            if self.include.matches(os.path.relpath(path, self.root), is_dir=is_dir):
                return self.include.negative
            if not self.include.negative and not is_dir:
                return True
        for levels in (*self.kinds, self.exclude, self.explicit):
            for level in reversed(levels):
                verdict = level.verdict(path, is_dir=is_dir)
                if verdict is not None:
                    return verdict
        return Path(path).name.startswith(".")

    def below(self, directory: str, env: Mapping[str, str]) -> Rules:
        """Return the rules of a directory inside of this one."""
        git = Path(directory, ".git")
        in_git, exclude, kinds = self.in_git, self.exclude, list(self.kinds)
        if git.exists():  # another work tree: what holds outside of it is not its own
            in_git, kinds[2] = True, ()
            exclude = _levels(directory, (_user_file(env), git / "info" / "exclude"))
        for index, name in enumerate(KINDS):
            if in_git or name != ".gitignore":
                kinds[index] += _levels(directory, (Path(directory, name),))
        return attrs.evolve(self, kinds=tuple(kinds), exclude=exclude, in_git=in_git)


def rules_for(root: str, include: Globs | None, env: Mapping[str, str]) -> Rules:
    """Return the rules of a directory, with those of all directories above it."""
    explicit = _levels(root, [Path(root, name) for name in EXPLICIT])
    rules = Rules(root, include, ((), (), ()), (), explicit, in_git=False)
    for directory in (*reversed(Path(root).parents), Path(root)):
        rules = rules.below(str(directory), env)
    return rules


def _levels(directory: str, paths: Iterable[Path]) -> _Levels:
    return tuple(level for path in paths if (level := _read(directory, path)) is not None)


def _read(directory: str, path: Path) -> Level | None:
    """Return an ignore file ready for use, or None if there is none that can be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return Level(directory, tuple(_patterns(lines)))


def _patterns(lines: Iterable[str]) -> Iterator[Globs]:
    for line in lines:
        text = line if line.endswith("\\ ") else line.rstrip()
        if text and not text.startswith("#"):
            with suppress(BadRequestError):  # a line that is no pattern is passed over, as by git
                yield compile_glob(text)


def _user_file(env: Mapping[str, str]) -> Path:
    config = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "/"), ".config"))
    return Path(config, "git", "ignore")
