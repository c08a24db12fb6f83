"""A project with a configuration, a user without one, and a socket to their server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import trio

from crush_trio.addresses import Address


def config(base_url: str = "http://model.invalid/v1", **more: Any) -> dict[str, Any]:
    """Return a ``crush.json`` with one provider called ``scripted``."""
    model = {
        "id": "scripted-1",
        "name": "Scripted",
        "context_window": 100_000,
        "default_max_tokens": 1_000,
    }
    provider = {"type": "openai-compat", "base_url": base_url, "models": [model]}
    return {"providers": {"scripted": provider}, **more}


def write_config(directory: Path, document: object) -> None:
    """Write a project's ``crush.json``; a text is written as it is."""
    text = document if isinstance(document, str) else json.dumps(document)
    (directory / "crush.json").write_text(text)


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a server whose user has nothing configured."""
    return {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def make_project(tmp_path: Path, document: object) -> tuple[Path, dict[str, str]]:
    """Make a project and an empty home; return the project and its server's environment."""
    directory, home = tmp_path / "project", tmp_path / "home"
    directory.mkdir(exist_ok=True)
    home.mkdir(exist_ok=True)
    write_config(directory, document)
    return directory, environment(home)


async def connect_to(address: Address) -> trio.SocketStream:
    """Open a socket to an address."""
    if address.network == "unix":
        return await trio.open_unix_socket(address.path)
    return await trio.open_tcp_stream(address.host, address.port)
