"""crush_trio: a server for coding-agent sessions with correct lifetimes."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
