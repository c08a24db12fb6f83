"""A server of bytes: what a model's endpoint puts on a real socket, and what it was sent."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import trio

from crush_trio.providers.base import Delta, ModelMessage, ModelRequest, Provider
from limits_kit import REAL_LIMIT

ASK = ModelRequest("m", [ModelMessage("user", "hi")])

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"

Answer = Callable[[trio.SocketStream], Awaitable[None]]


def response(
    body: bytes, status: str = "200 OK", kind: str = "text/event-stream", more: str = ""
) -> bytes:
    """Return a whole answer; ``more`` is further header lines, each with its end."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class WireServer:
    """Answers each request with the next of some given bytes, or lets a function do it."""

    def __init__(self, *answers: bytes | Answer) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0
        self.ended = trio.Event()
        self.base_url = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        data = b""
        try:
            async for more in stream:
                data += more
                head, gap, body = data.partition(b"\r\n\r\n")
                size = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                if gap and size and len(body) >= int(size[1]):
                    self.requests.append((head.decode().lower(), body))
                    await self.answer(stream)
                    data = b""
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.ended.set()

    async def answer(self, stream: trio.SocketStream) -> None:
        answer = self.answers.pop(0)
        if isinstance(answer, bytes):
            await stream.send_all(answer)
        else:
            await answer(stream)


@asynccontextmanager
async def open_wire(*answers: bytes | Answer) -> AsyncGenerator[WireServer]:
    server = WireServer(*answers)
    with trio.fail_after(REAL_LIMIT):  # the first use imports an SDK
        async with trio.open_nursery() as nursery:
            listeners: list[trio.SocketListener] = await nursery.start(
                partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
            )
            server.base_url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
            try:
                yield server
            finally:
                nursery.cancel_scope.cancel()


async def heard(provider: Provider, request: ModelRequest = ASK) -> list[Delta]:
    async with provider.stream(request) as deltas:
        return [delta async for delta in deltas]


async def cut(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def check_cancel_is_seen(
    open_provider: Callable[[str], AbstractAsyncContextManager[Provider]], begun: bytes
) -> None:
    """Check that a server sees the end of its connection, once an answer that has begun is cancelled.

    Args:
        open_provider: Opens the provider for a base URL.
        begun: The beginning of the answer, with some text; nothing follows.
    """
    first = trio.Event()

    async def for_ever(stream: trio.SocketStream) -> None:
        await stream.send_all(HEAD + b"\r\n" + begun)

    async with open_wire(for_ever) as server, open_provider(server.base_url) as provider:

        async def listen() -> None:
            async with provider.stream(ASK) as deltas:
                async for _ in deltas:
                    first.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await first.wait()
            assert not server.ended.is_set()
            nursery.cancel_scope.cancel()
        await server.ended.wait()  # while the provider is still open
