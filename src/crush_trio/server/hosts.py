"""The one host that the framework sees, whatever a request's ``Host`` says. Knows no route.

Its router writes the host as a domain name and fails, outside of every handler and so with 500 and
a traceback, where that cannot be done; but on a unix socket ``Host`` may be anything (wire contract
1.2). Who may come in by which name is decided before, by :mod:`.origins`.
"""

from __future__ import annotations

from collections.abc import Awaitable

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

HOST = b"localhost"


class OneHost:
    """ASGI middleware: every request is for ``localhost``."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> Awaitable[None]:
        """Pass one request on. Sync, as :class:`.BodyLimit` is."""
        if scope["type"] == "http":
            others = [pair for pair in scope["headers"] if pair[0].lower() != b"host"]
            scope = {**scope, "headers": [(b"host", HOST), *others]}
        return self._app(scope, receive, send)
