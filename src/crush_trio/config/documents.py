"""What several configuration files say together, and what in it does not make sense."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace

from crush_trio.config.files import decode, line_in
from crush_trio.config.merge import KindsDifferError, merge
from crush_trio.config.positions import shown
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Config, Hook, MCPConfig

RECENT_LIMIT = 5
"""Models of one kind that are remembered as recently used (agent contract 3.2)."""

HOOK_EVENTS = {"pretooluse": "PreToolUse"}
"""Events that have hooks, by their names without case and underscores (agent contract 3.9)."""


class Documents:
    """Documents that are merged one after the other, lowest priority first."""

    def __init__(self) -> None:
        self._merged: dict[str, Any] = {}
        self._recent: dict[str, Any] = {}

    def add(self, path: Path, document: Mapping[str, Any]) -> None:
        """Merge the next file's document.

        The lists of recent models are whole in each file that has them, so they are not
        concatenated: the last file's count.

        Raises:
            ConfigError: it contradicts an earlier one, or has a hook that cannot be run.
        """
        _check_hooks(path, document)
        migrated = _migrated(document)
        self._recent |= migrated.pop("recent_models", None) or {}
        try:
            self._merged = merge(self._merged, migrated)
        except KindsDifferError as error:
            raise ConfigError(f"{path}: {line_in(path, error.key)}{error}") from error

    @property
    def config(self) -> Config:
        """All of them as one configuration."""
        recent = {kind: models[:RECENT_LIMIT] for kind, models in self._recent.items() if models}
        return decode({**self._merged, "recent_models": recent})


def checked(config: Config) -> Config:
    """Return a configuration without leftovers, and with hooks under the names of their events."""
    mcp = {name: entry for name, entry in config.mcp.items() if not _is_leftover(entry)}
    return replace(config, mcp=mcp, hooks=_hooks(config.hooks))


def _is_leftover(entry: MCPConfig) -> bool:
    """Whether nothing but a login is left of a server (agent contract 3.6)."""
    return entry.oauth_token is not None and entry == MCPConfig(oauth_token=entry.oauth_token)


def _migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with today's names for what older versions called otherwise."""
    result = dict(document)
    options = result.get("options")
    if not isinstance(options, dict):
        return result
    options = dict(cast("dict[str, Any]", options))
    result["options"] = options
    style = options.pop("notification_style", None)
    if options.pop("disable_notifications", None) is True:
        style = "disabled"
    if isinstance(style, str):
        options.setdefault("notifications", style)
    return result


def _hooks(given: Mapping[str, tuple[Hook, ...]]) -> dict[str, tuple[Hook, ...]]:
    hooks: dict[str, tuple[Hook, ...]] = {}
    for name, entries in given.items():
        event = HOOK_EVENTS.get(name.replace("_", "").lower(), name)
        hooks[event] = (*hooks.get(event, ()), *entries)
    return hooks


def _check_hooks(path: Path, document: Mapping[str, Any]) -> None:
    """Refuse a hook that cannot be run, by the file, the line and the key (agent contract 3.9)."""
    for name, entries in decode({"hooks": document.get("hooks")}).hooks.items():
        for index, hook in enumerate(entries):
            if wrong := _wrong_with(hook):
                key = ("hooks", name, index)
                raise ConfigError(f"{path}: {line_in(path, key)}{shown(key)}: {wrong}")


def _wrong_with(hook: Hook) -> str:
    if not hook.command.strip():
        return "command is empty"
    try:
        re.compile(hook.matcher)
    except re.error as error:
        return f"matcher {hook.matcher!r} is no regular expression: {error}"
    return ""
