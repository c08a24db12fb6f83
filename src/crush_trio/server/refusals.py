"""Refusing a request before the framework sees it: one answer for every ASGI middleware."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from hypercorn.typing import ASGISendCallable

from crush_trio.errors import CrushTrioError
from crush_trio.wire.workspaces import ErrorBody


async def refuse(
    error: CrushTrioError, send: ASGISendCallable, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer a request with ``error``, in the form of wire contract 2.3."""
    body = msgspec.json.encode(ErrorBody(error.text)) + b"\n"
    usual = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send(
        {"type": "http.response.start", "status": error.status, "headers": [*usual, *headers]}
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
