"""A project directory and a home for simulated worlds: real, small, and only read.

Working directories must exist, and configuration is read from files. Nothing is written there while
a world runs, so many worlds may use one place one after the other; stores are in memory.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from crush_trio.config import Configuration, load
from crush_trio.config.configuration import Kept
from crush_trio.config.findings import Findings

PROJECT = "project"
"""The directory that a world's clients work in, if they name no other one."""

BESIDE = f"{PROJECT}/beside"
"""A directory below it, which shares its data directory."""


def document(**more: Any) -> dict[str, Any]:
    """Return a ``crush.json`` with one provider, whose model is scripted, and whatever else is given."""
    model = {"id": "scripted-1", "name": "Scripted", "default_max_tokens": 1000}
    provider = {"type": "openai-compat", "base_url": "http://model.invalid/v1", "models": [model]}
    return {"providers": {"scripted": provider}, **more}


@attrs.define(eq=False)
class Place:
    """Where simulated worlds work. Use :func:`open_place`.

    Attributes:
        root: Holds the home and the projects.
        env: The server's environment.
    """

    root: Path
    env: dict[str, str]
    _known: dict[tuple[Path, str, bool], Configuration] = attrs.field(
        factory=dict[tuple[Path, str, bool], Configuration], init=False
    )

    def directory(self, name: str = PROJECT) -> Path:
        """Return a directory by its name, made if it is missing."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def read_config(
        self,
        directory: Path,
        *,
        env: Mapping[str, str],
        data_dir: str = "",
        debug: bool = False,
        kept: Kept | None = None,
        findings: Findings | None = None,
    ) -> Configuration:
        """Read a directory's configuration; what was read once is kept, since nobody changes it."""
        read = partial(load, directory, env=env, data_dir=data_dir, debug=debug, findings=findings)
        if kept is not None and kept != Kept():
            return read(kept=kept)
        key = (directory, data_dir, debug)
        if key not in self._known:
            self._known[key] = read()
        return self._known[key]


@contextmanager
def open_place(**more: Any) -> Generator[Place]:
    """Make a place in a temporary directory; leaving the block removes it.

    Args:
        more: What the project's ``crush.json`` holds beside its provider.
    """
    with tempfile.TemporaryDirectory(prefix="crush-trio-") as name:
        yield make_place(Path(name).resolve(), **more)


def make_place(root: Path, **more: Any) -> Place:
    """Make a place in a directory that stays: two processes that use it see the same paths.

    Args:
        root: An absolute path without links.
        more: As for :func:`open_place`.
    """
    place = Place(root, {"HOME": str(root / "home")})
    place.directory("home")
    place.directory(f"{PROJECT}/.crush")
    place.directory(BESIDE)
    (root / PROJECT / "crush.json").write_text(json.dumps(document(**more)))
    return place
