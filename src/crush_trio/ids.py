"""Identifiers, each with its own type, so that one cannot be passed for another."""

from __future__ import annotations

import uuid
from typing import NewType

RunID = NewType("RunID", str)
SessionID = NewType("SessionID", str)
MessageID = NewType("MessageID", str)
WorkspaceID = NewType("WorkspaceID", str)
ClientID = NewType("ClientID", str)


def new_id() -> str:
    """Return a new random UUID in its dashed lower-case form, as Crush writes ids."""
    return str(uuid.uuid4())
