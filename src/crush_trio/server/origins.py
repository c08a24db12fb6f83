"""Which requests may come in at all: none that a foreign web page has made (A1). Knows no token.

A page that somebody on this machine looks at can make their browser send requests here. What tells
them apart is what the browser adds and no page can change:

- ``Host``. A page of ``evil.example``, whose name has come to lead to this machine, is of the same
  origin as this server to the browser; but the name stays. On TCP only known names are answered.
- ``Origin`` and ``Sec-Fetch-Site``. Another origin is foreign, also one on localhost and ``null``.
  No origin is ours on a unix socket, whose ``Host`` can be anything.
- ``Content-Type``. Forms, and pages that may not ask first, cannot say ``application/json``. Held
  against browsers only: Crush's own client sends one JSON body as ``text/plain`` (wire contract 1.2).

An ASGI middleware in front of everything, for HTTP/1.1 and HTTP/2 alike: there, hypercorn makes
``:authority`` the ``Host``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from crush_trio.addresses import UNIX_HOST, Address
from crush_trio.errors import BadRequestError, ContentTypeError, CrushTrioError, ForbiddenError
from crush_trio.server.access import WILDCARDS, is_loopback
from crush_trio.server.refusals import refuse

READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing, and whose bodies nobody reads."""

OWN_SITES = frozenset({"same-origin", "none"})
"""What ``Sec-Fetch-Site`` may say; ``none`` is a person who has typed the address. ``same-site`` is
another port of this machine, which may be anybody's."""

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d*)?", re.ASCII | re.IGNORECASE)

_QUOTED = 100
"""Characters of a header that an answer repeats."""

Headers = dict[str, list[str]]


class OriginGuard:
    """ASGI middleware: refuses what a foreign web page makes a browser send.

    Args:
        app: What everything else is passed on to.
        hosts: Names in ``Host`` that are answered beside the loopback ones; None for all, on a
            unix socket.
    """

    def __init__(self, app: ASGIFramework, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass one request on, or refuse it."""
        objection = self._objection(scope) if scope["type"] == "http" else None
        if objection is None:
            await self._app(scope, receive, send)
        else:
            await refuse(objection, send)

    def _objection(self, scope: HTTPScope) -> CrushTrioError | None:
        headers = _gathered(scope["headers"])
        return (
            self._foreign_host(scope, headers)
            or self._foreign_origin(scope, headers)
            or _foreign_content(scope, headers)
        )

    def _foreign_host(self, scope: HTTPScope, headers: Headers) -> CrushTrioError | None:
        if self._hosts is None:
            return None
        named = headers.get("host", []) or [""]
        target = scope["raw_path"].decode("latin-1")
        if not target.startswith(("/", "*")):  # a whole URL, as proxies are sent it
            named = [*named, target.partition("://")[2].partition("/")[0]]
        for value in named:
            name = host_name(value)
            if name not in self._hosts and not is_loopback(name):
                return ForbiddenError(
                    f"host {value[:_QUOTED]!r} is not a name of this server: "
                    "call it localhost, or start it with --allow-host"
                )
        return None

    def _foreign_origin(self, scope: HTTPScope, headers: Headers) -> CrushTrioError | None:
        own = None
        if self._hosts is not None:
            own = f"{scope['scheme']}://{''.join(headers.get('host', []))}".lower()
        for origin in headers.get("origin", []):
            if origin.lower() != own:
                return ForbiddenError(f"origin {origin[:_QUOTED]!r} may not use this server")
        for site in headers.get("sec-fetch-site", []):
            if site.lower() not in OWN_SITES:
                return ForbiddenError(f"a page of another origin ({site[:_QUOTED]!r}) may not")
        return None


def allowed_hosts(address: Address, more: Iterable[str] = ()) -> frozenset[str] | None:
    """Return the names that a server at ``address`` goes by, beside those of loopback.

    An IP address for every address of the machine is none of them: a page can name it, and
    browsers do not count it as this machine, so that they add no ``Sec-Fetch-Site``.

    Args:
        address: Where it listens; a name or an address that it was told is its own.
        more: Names that were allowed.

    Raises:
        BadRequestError: one of these is no name of a host.
    """
    if address.network == "unix":
        return None
    named = frozenset(map(_allowed, more))
    return named | {UNIX_HOST} | ({address.host.lower()} - WILDCARDS)


def _allowed(text: str) -> str:
    bare = text.lower().removeprefix("[").removesuffix("]")
    if bare != host_name(text) or not bare:
        try:
            ip_address(bare)
        except ValueError:
            raise BadRequestError(
                f"host {text!r} is not a name or an IP address without a port"
            ) from None
    return bare


def host_name(value: str) -> str:
    """Return the name of a ``Host`` header in lower case, without port and brackets; else nothing."""
    found = _AUTHORITY.fullmatch(value)
    return (found[1] or found[2]).lower() if found else ""


def _foreign_content(scope: HTTPScope, headers: Headers) -> CrushTrioError | None:
    browser = "origin" in headers or any(name.startswith("sec-fetch-") for name in headers)
    if not browser or scope["method"] in READING or not _has_body(scope, headers):
        return None
    kinds = [value.partition(";")[0].strip().lower() for value in headers.get("content-type", [])]
    if kinds == ["application/json"]:
        return None
    return ContentTypeError("a body from a browser needs 'Content-Type: application/json'")


def _has_body(scope: HTTPScope, headers: Headers) -> bool:
    """Whether the request may have a body. HTTP/2 need not say so; a DELETE there has none."""
    if lengths := headers.get("content-length"):
        return lengths != ["0"]
    unsaid = scope["http_version"] == "2" and scope["method"] != "DELETE"
    return unsaid or "transfer-encoding" in headers


def _gathered(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the values of each header, by lower-case name."""
    gathered: Headers = {}
    for name, value in headers:
        values = gathered.setdefault(name.decode("latin-1").lower(), [])
        values.append(value.decode("latin-1").strip())
    return gathered
