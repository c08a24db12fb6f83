"""A project's introduction to the agent on the wire (wire contract R-54 to R-56)."""

from __future__ import annotations

import msgspec


class NeedsInit(msgspec.Struct, frozen=True):
    """Answer of ``GET .../project/needs-init``."""

    needs_init: bool


class InitPrompt(msgspec.Struct, frozen=True):
    """Answer of ``GET .../project/init-prompt``."""

    prompt: str
