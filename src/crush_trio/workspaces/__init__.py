"""Workspaces: the owners, and what lives how long."""

from __future__ import annotations

from crush_trio.workspaces.equipment import Equipment
from crush_trio.workspaces.host import WorkspaceHost, open_workspace_host
from crush_trio.workspaces.register import Register, open_register
from crush_trio.workspaces.saved import StateFile
from crush_trio.workspaces.workspace import Workspace

__all__ = [
    "Equipment",
    "Register",
    "StateFile",
    "Workspace",
    "WorkspaceHost",
    "open_register",
    "open_workspace_host",
]
