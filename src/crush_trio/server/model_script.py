"""A scripted model behind HTTP, as an OpenAI-compatible endpoint: for demos, benches and tests.

The script runs in :class:`~crush_trio.providers.scripted.ScriptedModel`; here it only gets a
wire, so what a test sees in the model is the same with and without one. Synopsis::

    async with open_model_server(ScriptedModel("Hello.")) as base_url:
        ...
"""

from __future__ import annotations

import binascii
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import hypercorn.trio
import hypercorn.typing
import msgspec
import trio
from hypercorn.config import Config

from crush_trio.errors import ProviderError
from crush_trio.providers.base import ModelRequest
from crush_trio.providers.failures import TRANSPORT_ERROR
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server.model_wire import chunks, fault, read_request

GATES = "/v1/gates/"
"""``POST`` to a name below this opens the gate that an answer of the script waits at."""

_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def open_model_server(
    model: ScriptedModel, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[str]:
    """Serve a scripted model; yields its base URL. Leaving the block cuts what is still open."""
    config = Config()
    config.bind = [f"{host}:{port}"]
    config.errorlog = None
    config.graceful_timeout = 0
    async with trio.open_nursery() as nursery:
        # The WSGI half of its type is not known.
        serve = hypercorn.trio.serve  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        app = make_model_app(model)
        binds: list[str] = await nursery.start(partial(serve, app, config, mode="asgi"))
        try:
            yield f"{binds[0]}/v1"
        finally:
            nursery.cancel_scope.cancel("model server closed")


def make_model_app(model: ScriptedModel) -> hypercorn.typing.ASGIFramework:
    """Return an ASGI application: ``POST /v1/chat/completions``, ``GET /v1/models``, and the gates."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await _route(model, scope, receive, send)

    return cast("hypercorn.typing.ASGIFramework", app)


async def _live(receive: _Receive, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _route(model: ScriptedModel, scope: Any, receive: _Receive, send: _Send) -> None:
    match scope["method"], scope["path"]:
        case "GET", "/v1/models":
            listed = {"object": "list", "data": [{"id": "scripted", "object": "model"}]}
            await _reply(send, 200, listed)
        case "POST", "/v1/chat/completions":
            body = await _read(receive)
            try:
                request = read_request(body, dict(scope["headers"]))
            except (msgspec.MsgspecError, binascii.Error) as error:
                await _reply(send, 400, fault(str(error)))
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, receive, nursery.cancel_scope)
                await _answer(model, request, send)
                nursery.cancel_scope.cancel("answered")
        case "POST", path if path.startswith(GATES):
            model.open_gate(path.removeprefix(GATES))
            await _reply(send, 200, {})
        case method, path:
            await _reply(send, 404, fault(f"there is no {method} {path} here"))


async def _read(receive: _Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _watch(receive: _Receive, scope: trio.CancelScope) -> None:
    """Cancel the answer when its reader has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel("the client has gone")


async def _answer(model: ScriptedModel, request: ModelRequest, send: _Send) -> None:
    started = False
    try:
        async with model.stream(request) as deltas:
            await send(_head(200, b"text/event-stream"))
            started = True
            calls: dict[str, int] = {}
            async for delta in deltas:
                for chunk in chunks(delta, calls, request.model):
                    await _event(send, chunk)
    except ProviderError as error:
        if not started and error.http_status is not None:
            await _reply(send, error.http_status, fault(str(error)), _retry_headers(error))
            return
        if not started:
            await send(_head(200, b"text/event-stream"))
        if error.title == TRANSPORT_ERROR:
            return  # without the end of the body, so the server closes the connection
        await _event(send, fault(str(error), retryable=error.retryable))
    else:
        await send(_body(b"data: [DONE]\n\n"))
    await send(_body(b"", more=False))


def _retry_headers(error: ProviderError) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-should-retry", str(error.retryable).lower().encode())]
    if error.retry_after is not None:
        headers.append((b"retry-after-ms", str(error.retry_after * 1000).encode()))
    return headers


def _head(
    status: int, kind: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> dict[str, Any]:
    every = [(b"content-type", kind), *(headers or [])]
    return {"type": "http.response.start", "status": status, "headers": every}


def _body(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _event(send: _Send, event: dict[str, Any]) -> None:
    await send(_body(b"data: " + msgspec.json.encode(event) + b"\n\n"))


async def _reply(
    send: _Send, status: int, value: Any, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    await send(_head(status, b"application/json", headers))
    await send(_body(msgspec.json.encode(value), more=False))
