"""MCP servers on the wire (wire contract 3.13, 3.14 and 4.9)."""

from __future__ import annotations

from typing import Literal

import msgspec

MCPState = Literal["disabled", "starting", "connected", "error", "needs auth"]

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: it was never connected (wire contract 3.12)."""


class MCPClientInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One server's state. ``connected_at`` is RFC 3339 and always there."""

    error: str = ""
    name: str
    state: MCPState
    tool_count: int = 0
    prompt_count: int = 0
    resource_count: int = 0
    connected_at: str = msgspec.field(default_factory=lambda: NEVER)


class MCPName(msgspec.Struct, frozen=True):
    """Body of the routes that are about one server."""

    name: str = ""


class ReadResource(msgspec.Struct, frozen=True):
    """Body of ``POST .../mcp/read-resource``."""

    name: str = ""
    uri: str = ""


class GetPrompt(msgspec.Struct, frozen=True):
    """Body of ``POST .../mcp/get-prompt``; ``client_id`` is the server's name."""

    client_id: str = ""
    prompt_id: str = ""
    args: dict[str, str] | None = None


class AuthURL(msgspec.Struct, frozen=True):
    """Answer of ``GET .../mcp/auth-url``: ``auth_url`` is there while a login waits for a browser."""

    auth_url: str | msgspec.UnsetType = msgspec.UNSET


class PromptArgument(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a prompt wants to be told."""

    id: str
    title: str
    description: str = ""
    required: bool = False


class MCPPrompt(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A prompt that a server offers; ``id`` is ``<server>:<prompt>``."""

    id: str
    title: str = ""
    description: str = ""
    prompt_id: str
    client_id: str
    arguments: tuple[PromptArgument, ...] = ()


class PendingAuth(msgspec.Struct, frozen=True):
    """A server that needs a login."""

    name: str
    url: str


class ResourceContents(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One content of a resource: text, or ``blob`` in base64."""

    uri: str
    mime_type: str = ""
    text: str = ""
    blob: str = ""


class PromptText(msgspec.Struct, frozen=True):
    """Answer of ``POST .../mcp/get-prompt``."""

    prompt: str
