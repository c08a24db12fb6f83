"""Workspaces: the owners, and what lives how long."""

from __future__ import annotations

from crush_trio.workspaces.host import WorkspaceHost, open_workspace_host
from crush_trio.workspaces.workspace import Equipment, Workspace

__all__ = ["Equipment", "Workspace", "WorkspaceHost", "open_workspace_host"]
