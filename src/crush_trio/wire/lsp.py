"""Language servers on the wire (wire contract 3.12 and 4.4)."""

from __future__ import annotations

import msgspec

from crush_trio.wire.mcp import NEVER

UNSTARTED, DISABLED = 0, 5
"""States of a language server that does not run (wire contract 3.12)."""


class LSPClientInfo(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One server's state, which is a number: 0 unstarted to 5 disabled. Times are RFC 3339."""

    error: str = ""
    name: str
    state: int
    diagnostic_count: int = 0
    connected_at: str = msgspec.field(default_factory=lambda: NEVER)


class StartLSP(msgspec.Struct, frozen=True):
    """Body of ``POST .../lsps/start``: a file that language servers are wanted for."""

    path: str = ""
