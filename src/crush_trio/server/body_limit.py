"""End a request's body where it becomes too large. Knows no route.

Quart 0.22 looks at a body's size as it grows, 0.23 only when it has come whole: a chunked one that
never ends would be kept, and answered too late. An ASGI middleware serves both: what is over the
limit counts as the end, and the framework then sees a whole body that is too large.
"""

from __future__ import annotations

from collections.abc import Awaitable

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    Scope,
)


class BodyLimit:
    """ASGI middleware: a body is at an end with the piece that makes it too large.

    Args:
        app: What is behind.
        limit: Bytes that a body may have.
    """

    def __init__(self, app: ASGIFramework, limit: int) -> None:
        self._app = app
        self._limit = limit

    def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> Awaitable[None]:
        """Pass one request on. Sync, since every open stream would keep a coroutine of it."""
        size = 0

        async def bounded_receive() -> ASGIReceiveEvent:
            nonlocal size
            message = await receive()
            while message["type"] == "http.request" and size > self._limit:
                message = await receive()  # the answer is on its way; what still comes is dropped
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                if size > self._limit:
                    return {**message, "more_body": False}
            return message

        return self._app(scope, bounded_receive, send)
