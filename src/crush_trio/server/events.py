"""Event streams: an ASGI endpoint of its own, in front of the framework (wire contract 5).

Everything about a stream stands in one ``with`` block: the claim, the cursor and the answer. The
framework's way would send the status before it enters a response body, and a client that left in
between would keep its claim for ever.

The order is the contract's: subscribe and attach first, then the 200, at once (S1). Every end that
is ours is a proper end of the body (S6). A stream on which nothing happens is sent a newline now
and then, which is nothing to every reader.
"""

from __future__ import annotations

import logging
import re
from urllib.parse import parse_qs

import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from crush_trio.errors import CrushTrioError
from crush_trio.hub import Subscription
from crush_trio.server.client_ids import query_client
from crush_trio.server.refusals import refuse
from crush_trio.server.wishes import read_wish
from crush_trio.workspaces import WorkspaceHost

logger = logging.getLogger(__name__)

_PATH = re.compile(r"/v1/workspaces/([^/]+)/events")

HEADERS = [
    (b"cache-control", b"no-cache"),
    (b"content-type", b"text/event-stream"),
]
"""What a stream is answered with; the listener adds how its body ends (wire contract 0)."""


class EventStreams:
    """ASGI middleware: answers ``GET .../events``, passes everything else on.

    A ``HEAD`` is passed on too, so that it attaches nobody.

    Args:
        app: What answers everything else.
        host: Where the workspaces are.
        heartbeat: Seconds of silence after which a stream is sent a newline.
    """

    def __init__(self, app: ASGIFramework, host: WorkspaceHost, heartbeat: float) -> None:
        self._app = app
        self._host = host
        self._heartbeat = heartbeat

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve one stream, or pass one request on."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        found = _PATH.fullmatch(scope["path"])
        if found is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._serve(found[1], scope, receive, send)
        except CrushTrioError as error:
            await refuse(error, send)

    async def _serve(
        self,
        workspace_id: str,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
    ) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        client = query_client(query.get("client_id", [""])[0])
        wish = read_wish(query, scope["headers"])
        workspace = await self._host.find(workspace_id)
        with workspace.attach(client, wish) as subscription:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await _body(send, b"")  # makes the listener send the head at once
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, receive, nursery.cancel_scope)
                await _pump(subscription, send, self._heartbeat)
                nursery.cancel_scope.cancel("the stream has ended")


async def _pump(subscription: Subscription, send: ASGISendCallable, heartbeat: float) -> None:
    """Send what comes, one chunk at a time, then end the body properly."""
    while True:
        chunk: bytes | None = b"\n"
        with trio.move_on_after(heartbeat):
            chunk = await _next_chunk(subscription)
        if chunk is None:
            break
        await _body(send, chunk)
    await _body(send, b"", more=False)


async def _next_chunk(subscription: Subscription) -> bytes | None:
    """Wait for the next chunk; None at the end. A defect of ours is an end too, and a proper one."""
    try:
        return await subscription.receive_chunk()
    except trio.EndOfChannel:
        return None
    except Exception:
        logger.exception("an event stream broke, and is ended")
        return None


async def _watch(receive: ASGIReceiveCallable, scope: trio.CancelScope) -> None:
    """End the stream when its client has gone. Only the stream: no run hangs on it (R2)."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel("the client has gone")


async def _body(send: ASGISendCallable, data: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})
