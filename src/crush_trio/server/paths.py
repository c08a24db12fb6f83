"""Request paths as Go's router sees them (wire contract 1.2, 1.3): an ASGI middleware.

Two things that the framework's router does otherwise: a path that is not clean is redirected to the
clean one with 307, whatever it is, and an encoded slash stays inside its segment.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable
from html import escape
from urllib.parse import quote, unquote

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)


class CleanPaths:
    """ASGI middleware: redirect paths with ``//``, ``.`` or ``..``; keep ``%2F`` in its segment."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> Awaitable[None]:
        """Pass one request on, or redirect it. Sync, as :class:`.BodyLimit` is."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        path = _origin_form(scope["raw_path"].decode("ascii"))
        if (clean := clean_path(path)) != path:
            return _redirect(scope, clean, send)
        return self._app({**scope, "path": decode_path(path)}, receive, send)


def clean_path(path: str) -> str:
    """Return the encoded ``path`` without empty, ``.`` and ``..`` segments; a last slash stays."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def decode_path(path: str) -> str:
    """Return ``path`` decoded, but with encoded slashes left as they are.

    A segment that is nothing but an encoded slash names no route (wire contract 1.3), and it is
    decoded so that none is found.
    """
    segments = [unquote(segment) for segment in path.split("/")]
    return "/".join(text if text == "/" else text.replace("/", "%2F") for text in segments)


def _origin_form(target: str) -> str:
    """Return the path of a request target, which may be a whole URL or nothing but a query."""
    if target.startswith("/"):
        return target
    _, slash, path = target.partition("://")[2].partition("/")
    return slash + path or "/"


async def _redirect(scope: HTTPScope, path: str, send: ASGISendCallable) -> None:
    # A backslash after the first slash would make a browser leave this host.
    location = quote(path, safe="/%:@!$&'()*+,;=~")
    if scope["query_string"]:
        location += "?" + scope["query_string"].decode("ascii")
    body, headers = b"", [(b"location", location.encode())]
    if scope["method"] in {"GET", "HEAD"}:
        body = f'<a href="{escape(location)}">Temporary Redirect</a>.\n\n'.encode()
        headers.append((b"content-type", b"text/html; charset=utf-8"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
