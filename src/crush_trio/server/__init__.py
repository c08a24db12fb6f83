"""HTTP: the only importer of quart and hypercorn."""

from __future__ import annotations

from crush_trio.server.serve import ServeOptions, serve_forever

__all__ = ["ServeOptions", "serve_forever"]
