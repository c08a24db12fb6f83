"""The configuration of a workspace, from the client's side: what is written, and what is known."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from crush_trio.client.transport import Transport
from crush_trio.wire.changes import (
    ChooseModel,
    CompactMode,
    ImportedToken,
    ProviderKey,
    RefreshToken,
    RemoveField,
    SetField,
)
from crush_trio.wire.config import Provider, SelectedModel, Token

Scope = Literal["user", "workspace"]
"""Whose file is written: the user's own for all projects, or the one in the data directory."""

_SCOPES = {"user": 0, "workspace": 1}


class SettingsClient:
    """What can be changed of a workspace's configuration. Use ``WorkspaceClient.settings``.

    Every client of the workspace hears of a change by the event ``config_changed``. Methods raise as
    those of :class:`~crush_trio.client.WorkspaceClient`.
    """

    def __init__(self, transport: Transport, workspace_path: str) -> None:
        self._transport = transport
        self._path = f"{workspace_path}/config"
        self._workspace_path = workspace_path

    async def providers(self) -> list[Provider]:
        """Return the catalogue of well-known providers, whatever of it is configured."""
        answer = await self._transport.call("GET", f"{self._workspace_path}/providers")
        return answer.decode_list(Provider)

    async def set(self, key: str, value: Any, *, scope: Scope = "user") -> None:
        """Write a value; ``key`` is a path with dots, such as ``options.tui.compact_mode``."""
        await self._post("set", SetField(_SCOPES[scope], key, value))

    async def remove(self, key: str, *, scope: Scope = "user") -> None:
        """Take a value out; one that is not there is none to take."""
        await self._post("remove", RemoveField(_SCOPES[scope], key))

    async def choose_model(
        self, kind: Literal["large", "small"], model: SelectedModel, *, scope: Scope = "user"
    ) -> None:
        """Choose a model. The agent uses it after ``WorkspaceClient.update_agent``."""
        await self._post("model", ChooseModel(_SCOPES[scope], kind, model))

    async def set_compact_mode(self, *, enabled: bool, scope: Scope = "user") -> None:
        """Choose whether terminal clients are compact."""
        await self._post("compact", CompactMode(_SCOPES[scope], enabled))

    async def store_key(self, provider_id: str, key: str | Token, *, scope: Scope = "user") -> None:
        """Store a provider's key, or what a login gave."""
        kind = "string" if isinstance(key, str) else "oauth"
        await self._post("provider-key", ProviderKey(_SCOPES[scope], provider_id, kind, key))

    async def import_copilot(self) -> Token | None:
        """Take over a login of Copilot; return it, or None if there is none."""
        answer = await self._transport.call("POST", f"{self._path}/import-copilot")
        return answer.decode(ImportedToken).token

    async def refresh_token(self, provider_id: str, *, scope: Scope = "user") -> None:
        """Renew a provider's token."""
        await self._post("refresh-oauth", RefreshToken(_SCOPES[scope], provider_id))

    async def _post(self, what: str, body: msgspec.Struct) -> None:
        await self._transport.call("POST", f"{self._path}/{what}", body=body)
