"""Permission requests and answers on the wire (wire contract 3.16, R-30 to R-32)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

GrantAction = Literal["allow", "allow_session", "deny"]


class PermissionRequest(msgspec.Struct, frozen=True):
    """A tool asks whether it may go on; ``params`` depends on the tool (wire contract 9.2)."""

    id: str = ""
    session_id: str = ""
    tool_call_id: str = ""
    tool_name: str = ""
    description: str = ""
    action: str = ""
    params: Any = None
    path: str = ""


class PermissionGrant(msgspec.Struct, frozen=True):
    """Body of ``POST .../permissions/grant``. Only the request's id counts."""

    permission: PermissionRequest | None = PermissionRequest()
    action: str = ""


class Resolved(msgspec.Struct, frozen=True):
    """Whether this call decided the request (D1)."""

    resolved: bool


class Skip(msgspec.Struct, frozen=True):
    """Whether all permissions are granted unasked."""

    skip: bool = False
