"""Bodies of the routes that change a configuration (wire contract 4.7)."""

from __future__ import annotations

from typing import Any

import msgspec

from crush_trio.wire.config import SelectedModel, Token


class SetField(msgspec.Struct, frozen=True):
    """Body of ``POST .../config/set``. Scope 1 is the workspace's file, any other the user's."""

    scope: int = 0
    key: str = ""
    value: Any = None

    def __repr__(self) -> str:
        """Hide the value, which may be a key (A2)."""
        return f"<SetField {self.key!r}>"


class RemoveField(msgspec.Struct, frozen=True):
    """Body of ``POST .../config/remove``."""

    scope: int = 0
    key: str = ""


class ChooseModel(msgspec.Struct, frozen=True):
    """Body of ``POST .../config/model``; the type is ``large`` or ``small``."""

    scope: int = 0
    model_type: str = ""
    model: SelectedModel = SelectedModel("", "")


class CompactMode(msgspec.Struct, frozen=True):
    """Body of ``POST .../config/compact``."""

    scope: int = 0
    enabled: bool = False


class ProviderKey(msgspec.Struct, frozen=True):
    """Body of ``POST .../config/provider-key``; what ``api_key`` is says ``kind``."""

    scope: int = 0
    provider_id: str = ""
    kind: str = ""
    api_key: Any = None

    def __repr__(self) -> str:
        """Hide the key (A2)."""
        return f"<ProviderKey {self.provider_id!r} {self.kind!r}>"


class RefreshToken(msgspec.Struct, frozen=True):
    """Body of ``POST .../config/refresh-oauth``."""

    scope: int = 0
    provider_id: str = ""


class ImportedToken(msgspec.Struct, frozen=True):
    """Answer of ``POST .../config/import-copilot``."""

    token: Token | None = None
    success: bool = False
