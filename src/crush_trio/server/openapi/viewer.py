"""The page that shows the document: one file, nothing fetched from elsewhere (wire contract 1.4).

A browser cannot show a token before it has a page, so the page itself is open to whoever reaches
the address, and says nothing that the package does not. Everything on it is asked for with the
token that is typed into it, which it keeps for as long as it is open.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
)

PATHS = frozenset({"/v1/docs", "/v1/docs/"})
"""Where the page is."""


class Viewer:
    """ASGI middleware: answers the page, passes everything else on.

    Stands before the token's guard and behind that which keeps foreign pages out.
    """

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app
        self._page: tuple[bytes, bytes] | None = None

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Send the page, or pass one request on."""
        if scope["type"] != "http" or scope["path"] not in PATHS or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        self._page = self._page or read_page()
        body, policy = self._page
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"content-security-policy", policy),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-cache"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def read_page() -> tuple[bytes, bytes]:
    """Return the page and the policy that lets it run nothing but its own script."""
    body = files("crush_trio.server.openapi").joinpath("viewer.html").read_bytes()
    allowed = [
        b"default-src 'none'",
        b"connect-src 'self'",
        b"script-src " + _hashes(body, b"script"),
        b"style-src " + _hashes(body, b"style"),
        b"base-uri 'none'",
        b"form-action 'none'",
        b"frame-ancestors 'none'",
    ]
    return body, b"; ".join(allowed)


def _hashes(body: bytes, tag: bytes) -> bytes:
    found = re.findall(rb"<%s>(.*?)</%s>" % (tag, tag), body, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text).digest()) for text in found)
    return b" ".join(b"'sha256-%s'" % digest for digest in digests)
