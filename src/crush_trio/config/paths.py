"""Where configuration lives: directories named by the environment, and the project's boundary.

Nothing here reads the process's own environment; it is handed in. Paths are made absolute and
cleaned, and symlinks are left as they are: the caller decides which spelling of a directory counts.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping
from pathlib import Path

import attrs

DATA_DIRECTORY = ".crush"
"""Name of a data directory inside a project (agent contract 3.10)."""


def home(env: Mapping[str, str]) -> Path:
    """Return ``$HOME``, else the user's home from the password database."""
    return Path(env.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)


def config_home(env: Mapping[str, str]) -> Path:
    """Return the directory that holds every program's configuration."""
    named = env.get("XDG_CONFIG_HOME")
    return Path(named) if named else home(env) / ".config"


def global_config_dir(env: Mapping[str, str]) -> Path:
    """Return the directory of the configuration that the user writes (agent contract 3.1)."""
    named = env.get("CRUSH_GLOBAL_CONFIG")
    return Path(named) if named else config_home(env) / "crush"


def global_data_dir(env: Mapping[str, str]) -> Path:
    """Return the directory of the configuration that the program writes (agent contract 3.1)."""
    if named := env.get("CRUSH_GLOBAL_DATA"):
        return Path(named)
    shared = env.get("XDG_DATA_HOME")
    return (Path(shared) if shared else home(env) / ".local" / "share") / "crush"


@attrs.frozen
class Project:
    """A working directory and how far up its project reaches.

    Attributes:
        directory: Absolute and clean.
        root: The git work tree's root, or ``directory`` where there is none.
        in_git: Whether ``directory`` is inside a git work tree.
        owner: The user id that a project file must belong to, against planted files.
    """

    directory: Path
    root: Path
    in_git: bool
    owner: int

    @property
    def upwards(self) -> list[Path]:
        """The directories from the working directory up to the root, both included."""
        places = [self.directory, *self.directory.parents]
        return places[: places.index(self.root) + 1]


def find_project(directory: Path) -> Project:
    """Return the project around ``directory``, which need not exist."""
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() would follow symlinks
    found = _stat(directory)
    owner = os.geteuid() if found is None else found.st_uid
    for place in (directory, *directory.parents):
        if _stat(place / ".git") is not None:
            return Project(directory, place, in_git=True, owner=owner)
    return Project(directory, directory, in_git=False, owner=owner)


def data_directory(project: Project, *, argument: str = "", option: str = "") -> Path:
    """Return a project's data directory, absolute (agent contract 3.10).

    The first of: ``argument``, ``option``, the nearest existing ``.crush`` of the same owner up to
    the project's root, ``.crush`` in the working directory. Relative names are relative to that.
    """
    if named := argument or option:
        return Path(os.path.normpath(project.directory / named))
    for place in project.upwards:
        found = _stat(place / DATA_DIRECTORY)
        if found is not None and stat.S_ISDIR(found.st_mode) and found.st_uid == project.owner:
            return place / DATA_DIRECTORY
    return project.directory / DATA_DIRECTORY


def _stat(path: Path) -> os.stat_result | None:
    """Return what is at ``path``; what cannot be looked at is not there."""
    try:
        return path.stat()
    except OSError:
        return None
