"""Time-outs of tools as people write them, such as ``10s`` (agent contract 9.4). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

_UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PIECE = re.compile(r"(\d{1,12}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|ms|s|m|h)", re.ASCII)

TIMED_TOOLS = ("grep", "glob")
"""Tools with a time-out in the configuration (agent contract 3.2)."""


def nanoseconds(text: str) -> int | None:
    """Return a duration in Go's form, such as ``1m30s``, in nanoseconds; None if it is none."""
    total, position = Decimal(0), 0
    for piece in _PIECE.finditer(text):
        if piece.start() != position:
            return None
        position = piece.end()
        total += Decimal(piece[1]) * _UNITS[piece[2]]
    return int(total) if position and position == len(text) else None


def with_nanoseconds(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration document whose tools' time-outs are numbers, where they are durations."""
    tools = document.get("tools")
    if not isinstance(tools, dict):
        return document
    tools = dict(cast("dict[str, Any]", tools))
    for name in TIMED_TOOLS:
        if isinstance(tools.get(name), dict):
            tool = cast("dict[str, Any]", tools[name])
            timeout = tool.get("timeout")
            found = nanoseconds(timeout) if isinstance(timeout, str) else None
            tools[name] = tool if found is None else {**tool, "timeout": found}
    return {**document, "tools": tools}
