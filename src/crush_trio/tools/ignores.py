"""Which entries of a directory tree are passed over (agent contract 2.10).

Below the tools that walk. What Crush always skips is skipped first; then the ignore files decide
as git does it: the deepest one that says something about an entry has the last word.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILES = (".gitignore", ".crushignore")
"""Files with patterns for the directory that they are in."""

_ALWAYS = (
    ".git/ .svn/ .hg/ .bzr/ .vscode/ .idea/ node_modules/ __pycache__/ .pytest_cache/ .cache/ "
    ".tmp/ .Trash/ .Spotlight-V100/ .fseventsd/ .crush/ OrbStack/ .local/ .share/ *.swp *.swo *~ "
    ".DS_Store Thumbs.db target build dist out bin obj *.o *.so *.dylib *.dll *.exe *.log *.tmp "
    "*.temp *.pyc *.pyo vendor Cargo.lock package-lock.json yarn.lock pnpm-lock.yaml"
)
"""Patterns that Crush skips everywhere, separated by blanks."""


@attrs.frozen
class Ignores:
    """The rules that hold in one directory of a tree.

    Attributes:
        root: The top of the tree that the general rules are relative to.
    """

    root: str
    _always: GitIgnoreSpec
    _levels: tuple[tuple[str, GitIgnoreSpec], ...]

    def hides(self, path: str, *, is_dir: bool) -> bool:
        """Whether an entry of this directory is passed over."""
        if self._always.match_file(_relative(path, self.root, is_dir=is_dir)):
            return True
        for directory, spec in reversed(self._levels):
            verdict = spec.check_file(_relative(path, directory, is_dir=is_dir)).include
            if verdict is not None:
                return verdict
        return False

    def below(self, directory: str) -> Ignores:
        """Return the rules of a directory inside of this one, with its own ignore files."""
        own = [Path(directory, name) for name in IGNORE_FILES]
        found = tuple((directory, spec) for spec in map(_read, own) if spec is not None)
        return attrs.evolve(self, levels=self._levels + found) if found else self


def ignores_for(root: str, env: Mapping[str, str]) -> Ignores:
    """Return the rules of the top of a tree; ``env`` tells where the user's own ignore files are."""
    config = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME", "/"), ".config"))
    own = [Path(config, "git", "ignore"), Path(config, "crush", "ignore")]
    levels = tuple((root, spec) for spec in map(_read, own) if spec is not None)
    return Ignores(root, _compile(_ALWAYS.split()), levels).below(root)


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        return _compile(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return None


def _compile(lines: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # noqa: PLC0415 - at first use: imports cost start-up time

    lines = list(lines)
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError:  # git passes over a line that is no pattern
        return GitIgnoreSpec.from_lines(filter(_is_pattern, lines))


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec  # noqa: PLC0415

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _relative(path: str, directory: str, *, is_dir: bool) -> str:
    return os.path.relpath(path, directory) + ("/" if is_dir else "")
