"""Reads of files on the wire (wire contract R-24, R-25); their versions are ``wire.events.File``."""

from __future__ import annotations

import msgspec

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: the file was never read (wire contract R-25)."""


class ReadFile(msgspec.Struct, frozen=True):
    """Body of ``POST .../filetracker/read``."""

    session_id: str = ""
    path: str = ""
