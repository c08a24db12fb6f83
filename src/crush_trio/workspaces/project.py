"""Whether a project wants to be introduced to the agent, and how that is asked for (R-54 to R-56).

The mark that it has been asked lies in the data directory. Blocking; called in threads.
"""

from __future__ import annotations

from pathlib import Path

from crush_trio.agent.system import template
from crush_trio.config.defaults import CONTEXT_PATHS
from crush_trio.errors import CrushTrioError

MARK = "init"
"""The file in the data directory that says that the user has been asked (wire contract R-54)."""


def needs_init(directory: Path, data_dir: Path) -> bool:
    """Whether there are files to describe, nothing describes them yet, and nobody was asked."""
    if (data_dir / MARK).exists():
        return False
    known = {path.rstrip("/").casefold() for path in CONTEXT_PATHS}
    try:
        names = [entry.name for entry in directory.iterdir()]
    except OSError:
        return False
    if any(name.casefold() in known for name in names):
        return False
    if any((directory / path).exists() for path in CONTEXT_PATHS if "/" in path):
        return False
    return any(not name.startswith(".") for name in names)


def mark_asked(data_dir: Path) -> None:
    """Remember that the user has been asked.

    Raises:
        CrushTrioError: the mark cannot be written.
    """
    try:
        (data_dir / MARK).touch()
    except OSError as error:
        raise CrushTrioError(f"failed to create init flag file: {error}") from error


def init_prompt(initialize_as: str) -> str:
    """Return the prompt that lets the agent describe the project in a file of that name."""
    return template("initialize").replace("{file}", initialize_as or "AGENTS.md").strip()
