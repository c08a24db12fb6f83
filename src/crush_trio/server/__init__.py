"""HTTP: the only importer of quart and hypercorn."""

from __future__ import annotations

from crush_trio.server.options import ServeOptions
from crush_trio.server.serve import serve_forever
from crush_trio.server.tls import CertificateFiles

__all__ = ["CertificateFiles", "ServeOptions", "serve_forever"]
