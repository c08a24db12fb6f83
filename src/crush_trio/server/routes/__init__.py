"""The routes: one blueprint a noun, each made for a workspace host.

A handler decodes, finds its workspace, makes one call and encodes. Nothing that must live longer
than the request is started here.
"""

from __future__ import annotations

from quart import Blueprint

from crush_trio.server.routes import (
    agent,
    files,
    permissions,
    runs,
    server,
    sessions,
    workspaces,
)
from crush_trio.workspaces import WorkspaceHost


def blueprints(host: WorkspaceHost) -> list[Blueprint]:
    """Return all routes below ``/v1``."""
    nouns = (server, workspaces, sessions, agent, runs, permissions, files)
    return [noun.blueprint(host) for noun in nouns]
