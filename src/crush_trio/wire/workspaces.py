"""Workspaces, versions and control on the wire (wire contract 3.1, 3.2 and R-04)."""

from __future__ import annotations

import msgspec

from crush_trio.wire.config import Config
from crush_trio.wire.skills import SkillState


class VersionInfo(msgspec.Struct, frozen=True):
    """What the server is. A different build is reused by clients, since control answers 409."""

    version: str
    commit: str
    build_id: str
    go_version: str
    platform: str


class CreateWorkspace(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/workspaces``."""

    path: str = ""
    client_id: str = ""
    yolo: bool = False
    debug: bool = False
    data_dir: str = ""
    version: str = ""
    env: tuple[str, ...] | None = ()
    channels: tuple[str, ...] | None = ()

    def __repr__(self) -> str:
        """Hide the environment (A2)."""
        return f"<CreateWorkspace {self.path!r}>"


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A workspace as its clients know it; the first creator's flags win (W1)."""

    id: str
    path: str
    yolo: bool | msgspec.UnsetType = msgspec.UNSET
    debug: bool | msgspec.UnsetType = msgspec.UNSET
    data_dir: str = ""
    version: str = ""
    config: Config
    env: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    channels: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    skills: tuple[SkillState, ...] | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        """Hide the environment (A2)."""
        return f"<Workspace {self.id} {self.path!r}>"


class Control(msgspec.Struct, frozen=True):
    """Body of ``POST /v1/control``."""

    command: str = ""


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error answer; a failed run also names itself (wire contract 0)."""

    message: str
    run_id: str | msgspec.UnsetType = msgspec.UNSET
    session_id: str | msgspec.UnsetType = msgspec.UNSET
    message_id: str | msgspec.UnsetType = msgspec.UNSET
