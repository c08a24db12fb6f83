"""What directories are called: one name for each, so that one workspace or store is in it (W1)."""

from __future__ import annotations

import os
from pathlib import Path

from crush_trio.errors import BadRequestError


def one_name(directory: Path) -> Path:
    """Return what a directory is called by everybody; a loop of links keeps its name."""
    return Path(os.path.realpath(directory))


def usable_directory(path: str) -> Path:
    """Return the resolved directory of a create, made if it is missing (R-07).

    Raises:
        BadRequestError: the path is missing, or is no directory.
    """
    if not path:
        raise BadRequestError("path is required")
    try:
        directory = Path(path).resolve()
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadRequestError(f"path {path!r} is not a usable directory: {reason}") from error
    except RecursionError as error:  # pathlib makes one missing parent inside the other
        raise BadRequestError("path is not a usable directory: it is nested too deeply") from error
    return directory
