"""The JSON schema of ``crush.json``, made of the types that read it."""

from __future__ import annotations

from typing import Any

import msgspec

from crush_trio.config.catalog import TYPES
from crush_trio.wire.config import Config, Hook, Json, Token

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class McpServer(msgspec.Struct, frozen=True):
    """An MCP server: a command for ``stdio``, an address for ``sse`` and ``http``."""

    type: str = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    url: str = ""
    headers: dict[str, str] = {}
    disabled: bool = False
    disabled_tools: tuple[str, ...] = ()
    enabled_tools: tuple[str, ...] = ()
    timeout: int = 10
    oauth: bool = False
    oauth_client_id: str = ""
    oauth_client_secret: str = ""
    oauth_callback_port: int = 0
    oauth_token: Token | None = None


class LspServer(msgspec.Struct, frozen=True):
    """A language server; what is missing is filled in where the server is known."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    filetypes: tuple[str, ...] = ()
    root_markers: tuple[str, ...] = ()
    init_options: Json = {}
    options: Json = {}
    timeout: int = 30
    disabled: bool = False


CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("ProviderConfig", "type"): tuple(sorted(TYPES)),
    ("McpServer", "type"): ("stdio", "sse", "http"),
    ("Attribution", "trailer_style"): ("none", "co-authored-by", "assisted-by"),
    ("Options", "notifications"): ("auto", "native", "osc", "bell", "disabled"),
    ("Tui", "diff_mode"): ("unified", "split"),
    ("Tui", "scrollbar"): ("default", "always", "never"),
}
"""Values of texts that have only a few (agent contract 3.4, 3.6 and 3.8)."""


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file.

    It is as lenient as the reader: unknown keys are allowed, and ``null`` counts as absent only to
    the reader.
    """
    types = (Config, McpServer, LspServer, Hook)
    _, found = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for (owner, name), values in CHOICES.items():
        found[owner]["properties"][name]["enum"] = list(values)
    root = found.pop("Config")
    tables = {"mcp": "McpServer", "lsp": "LspServer"}
    for key, name in tables.items():
        root["properties"][key]["additionalProperties"] = {"$ref": f"#/$defs/{name}"}
    hooks = {"type": "array", "items": {"$ref": "#/$defs/Hook"}}
    root["properties"]["hooks"]["additionalProperties"] = hooks
    found["Hook"]["required"] = ["command"]
    found["Timeout"]["properties"]["timeout"]["anyOf"].append({"type": "string"})  # such as 10s
    return {"$schema": DIALECT, **root, "title": "crush.json", "$defs": found}
