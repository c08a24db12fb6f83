"""Arguments of a tool call as a model sent them, made into a JSON object if that is possible.

Models cut their JSON off, quote it wrongly or wrap it in prose. The agent repairs what it can
before it stores a call (wire contract 6.4), so that history holds JSON objects only (R9).
"""

from __future__ import annotations

from typing import Any

import msgspec

BROKEN_ARGUMENTS = (
    "Tool call failed: arguments were not valid JSON. "
    "Please check your tool call format and try again."
)
"""Content of the error result of a call whose arguments are beyond repair (wire contract 6.4)."""

REPAIR_LIMIT = 100_000
"""Characters; longer arguments are not repaired. The repair takes about 2 us for each character and
runs between two checkpoints, and an argument that long is a file that would be written in half."""


def repair_arguments(text: str) -> str | None:
    """Return ``text`` as the JSON text of an object, or None if it is beyond repair.

    A JSON object is returned as it is, nothing at all and ``null`` are the empty object, and an
    object inside a JSON string is taken out. Not a checkpoint.
    """
    if not text.strip():
        return "{}"
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _repaired(text)
    if isinstance(value, dict):
        return text
    if isinstance(value, str):
        return _repaired(value)
    return "{}" if value is None else None


def _repaired(text: str) -> str | None:
    if len(text) > REPAIR_LIMIT:
        return None
    # Costs 40 ms and is seldom needed.
    from json_repair import repair_json  # noqa: PLC0415

    try:
        repaired = repair_json(text, ensure_ascii=False)
        value: Any = msgspec.json.decode(repaired) if repaired else None
    except (ValueError, RecursionError):
        return None
    return repaired if isinstance(value, dict) else None
