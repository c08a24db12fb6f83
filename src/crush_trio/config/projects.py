"""The directories that were worked in, for ``projects`` (agent contract 3.10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from crush_trio.config.files import Source, read_document
from crush_trio.config.paths import global_data_dir
from crush_trio.config.writing import edit

FILE_NAME = "projects.json"
"""Name of the list in the global data directory, which Crush writes too."""


class Project(msgspec.Struct, frozen=True):
    """A directory that was worked in, and when last (RFC 3339)."""

    path: str = ""
    data_dir: str = ""
    last_accessed: str = ""


def projects_file(env: Mapping[str, str]) -> Path:
    """Return where the list is."""
    return global_data_dir(env) / FILE_NAME


def read_projects(env: Mapping[str, str]) -> list[Project]:
    """Return the directories that were worked in, the last one first.

    Raises:
        ConfigError: the list cannot be read.
    """
    document, _ = read_document(Source(projects_file(env)))
    return sorted(_listed(document), key=lambda project: project.last_accessed, reverse=True)


async def remember_project(env: Mapping[str, str], path: Path, data_dir: Path, now: float) -> None:
    """Note that a directory is being worked in. Waits for other programs that write the list.

    Args:
        env: Names the user's directories.
        path: The directory.
        data_dir: Its data directory.
        now: Unix seconds.

    Raises:
        ConfigError: the list is broken, or cannot be written.
    """
    moment = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
    project = Project(str(path), str(data_dir), moment)

    def change(document: dict[str, Any]) -> None:
        others = [each for each in _listed(document) if each.path != project.path]
        document["projects"] = msgspec.to_builtins([*others, project])

    await edit(projects_file(env), change)


def _listed(document: Mapping[str, Any]) -> list[Project]:
    """Return the projects of a list; what is not one is passed over."""
    try:
        return msgspec.convert(document.get("projects") or [], list[Project])
    except msgspec.ValidationError:
        return []
