"""The ``.env`` file of the directory that a server is started in (agent contract 3.1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

_log = logging.getLogger(__name__)


def with_dotenv(directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with what a directory's ``.env`` adds; what is set already stays.

    A file that cannot be read is told to the log, and adds nothing.
    """
    path = directory / ".env"
    if not path.is_file():
        return dict(environ)
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path)
    except (OSError, ValueError) as error:
        _log.warning("%s is left out: %s", path, error)
        return dict(environ)
    added = {name: value for name, value in found.items() if value is not None}
    return {**added, **environ}
