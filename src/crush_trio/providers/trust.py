"""The authorities that TLS trusts, read when they are needed and not before."""

from __future__ import annotations

import ssl
from functools import cached_property
from typing import Any


class LateTrust(ssl.SSLContext):
    """Trusts what the system trusts, which it reads at the first handshake.

    For addresses without TLS, where only a redirect leads to a handshake: reading takes 20 ms of
    the first prompt and 1.4 MB. Made by ``LateTrust(ssl.PROTOCOL_TLS_CLIENT)``.
    """

    @cached_property
    def _system(self) -> ssl.SSLContext:
        import httpx2  # noqa: PLC0415  as everywhere: not before the first request

        return httpx2.create_ssl_context()

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a handshake. Blocks for the reading, once."""
        return self._system.wrap_bio(*args, **kwargs)
