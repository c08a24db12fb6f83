"""Life times that the environment gives a server, as Crush reads them (wire contract 7.1)."""

from __future__ import annotations

from collections.abc import Mapping

from crush_trio.settings import Settings

IDLE_VARIABLE = "CRUSH_SERVER_IDLE_TIMEOUT"
"""Seconds without an open workspace after which a server stops."""

DETACH_VARIABLE = "CRUSH_SERVER_DETACH_GRACE"
"""Seconds that a client's claim outlives its last stream."""


def whole_seconds(environ: Mapping[str, str], name: str) -> int | None:
    """Return a variable's seconds; None where it is missing, no whole number or negative."""
    text = environ.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Return a server's settings, with what the environment says of them."""
    grace = whole_seconds(environ, DETACH_VARIABLE)
    return Settings() if grace is None else Settings(detach_grace=grace)
