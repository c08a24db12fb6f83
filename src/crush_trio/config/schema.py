"""The JSON schema of ``crush.json``, made of the types that read it."""

from __future__ import annotations

from typing import Any

import msgspec

from crush_trio.config.catalog import TYPES
from crush_trio.wire.config import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("ProviderConfig", "type"): tuple(sorted(TYPES)),
    ("MCPConfig", "type"): ("stdio", "sse", "http"),
    ("Attribution", "trailer_style"): ("none", "co-authored-by", "assisted-by"),
    ("Options", "notifications"): ("auto", "native", "osc", "bell", "disabled"),
    ("Tui", "diff_mode"): ("unified", "split"),
    ("Tui", "scrollbar"): ("default", "always", "never"),
}
"""Values of texts that have only a few (agent contract 3.4, 3.6 and 3.8)."""

DEFAULTS: dict[tuple[str, str], object] = {
    ("MCPConfig", "timeout"): 10,
    ("LSPConfig", "timeout"): 30,
}
"""What counts where a file says nothing, and is not what clients are told then."""


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file.

    It is as lenient as the reader: unknown keys are allowed, and ``null`` counts as absent only to
    the reader.
    """
    _, found = msgspec.json.schema_components((Config,), ref_template="#/$defs/{name}")
    for (owner, name), values in CHOICES.items():
        found[owner]["properties"][name]["enum"] = list(values)
    for (owner, name), value in DEFAULTS.items():
        found[owner]["properties"][name]["default"] = value
    root = found.pop("Config")
    found["Hook"]["required"] = ["command"]
    found["Timeout"]["properties"]["timeout"]["anyOf"].append({"type": "string"})  # such as 10s
    return {"$schema": DIALECT, **root, "title": "crush.json", "$defs": found}
