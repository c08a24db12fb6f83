"""Let hypercorn finish with a request before its handler is cancelled. Knows no route.

When the last body message is sent, hypercorn closes the stream, which queues ``http.disconnect``;
quart-trio reads that at once and cancels the handler while it is *inside* hypercorn, which is about
to arm the connection's idle timer again. Such a connection is never closed for being idle, and
every shutdown waits for it. An ASGI middleware, because quart's internals differ between versions.
"""

from __future__ import annotations

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)


class KeepAliveFix:
    """ASGI middleware: a disconnect after the last body message does not reach the application."""

    def __init__(self, app: ASGIFramework) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        finished = False

        async def noting_send(message: ASGISendEvent) -> None:
            nonlocal finished
            if message["type"] == "http.response.body" and not message.get("more_body"):
                finished = True
            await send(message)

        async def deaf_receive() -> ASGIReceiveEvent:
            message = await receive()
            if finished and message["type"] == "http.disconnect":
                await trio.sleep_forever()  # ended by quart-trio, as soon as the handler returns
            return message

        await self._app(scope, deaf_receive, noting_send)
