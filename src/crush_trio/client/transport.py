"""Requests and answers: JSON over httpcore, errors translated. Knows no route.

Above it are the typed clients; below it httpcore on any Trio stream. There is no read time-out:
a prompt's POST and an event stream may stay open for hours. Callers bound what they want bounded.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from typing import TypeVar
from urllib.parse import quote, urlencode

import attrs
import httpcore2
import msgspec

from crush_trio import __version__
from crush_trio.client.connection import Connect, StreamBackend
from crush_trio.errors import ResponseError, ServerUnavailableError
from crush_trio.wire.workspaces import ErrorBody

T = TypeVar("T")

NO_LIMIT = 2**31
"""Connections are not rationed: every event stream and every open prompt holds one."""


def segment(text: str) -> str:
    """Return ``text`` as one path segment; ``$`` stays, as in the ids of sub-agent sessions."""
    return quote(text, safe="$")


@attrs.frozen
class Answer:
    """One complete answer of the server."""

    request: str
    status: int
    body: bytes

    def decode(self, type_: type[T]) -> T:
        """Return the body as ``type_``.

        Raises:
            ResponseError: it is something else.
        """
        try:
            return msgspec.json.decode(self.body, type=type_)
        except msgspec.DecodeError as error:
            raise ResponseError(
                self.status, f"the answer to {self.request} is not understood: {error}"
            ) from error

    def decode_list(self, item: type[T]) -> list[T]:
        """Return the body as a list of ``item``; ``null`` and nothing are an empty one.

        Raises:
            ResponseError: it is something else.
        """
        return self.decode(list[item]) if self.body.strip() not in {b"", b"null"} else []

    def error(self) -> ResponseError:
        """Return the error that this answer reports."""
        return ResponseError(self.status, _message(self.body) or f"{self.request}: {self.status}")


class Transport:
    """One client's connections to one server. Use :func:`open_transport`."""

    def __init__(
        self,
        pool: httpcore2.AsyncConnectionPool,
        open_stream_pool: Callable[[], AbstractAsyncContextManager[httpcore2.AsyncConnectionPool]],
        name: str,
        headers: Mapping[str, str],
    ) -> None:
        self.name = name
        self._pool = pool
        self._open_stream_pool = open_stream_pool
        self._origin = f"http://{headers['Host']}/v1"
        self._headers = list(headers.items())

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
        prefer: str | None = None,
    ) -> Answer:
        """Send one request and wait for its whole answer, whatever its status.

        Raises:
            ServerUnavailableError: nobody answers, or the connection ended before the answer did.
        """
        headers = [*self._headers, *([("Prefer", prefer)] if prefer else [])]
        content = b"" if method == "POST" else None
        if body is not None:
            content = msgspec.json.encode(body)
            headers.append(("Content-Type", "application/json"))
        with _translated(self.name):
            response = await self._pool.request(
                method, self._url(path, query), headers=headers, content=content
            )
        return Answer(f"{method} /v1{path}", response.status, response.content)

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None = None,
        query: Mapping[str, str] | None = None,
        prefer: str | None = None,
    ) -> Answer:
        """Send one request and wait for its answer, as :meth:`request`.

        Raises:
            ResponseError: the server refused it.
            ServerUnavailableError: as for :meth:`request`.
        """
        answer = await self.request(method, path, body=body, query=query, prefer=prefer)
        if not 200 <= answer.status < 300:
            raise answer.error()
        return answer

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[Chunks]:
        """Open an endless answer; the block is entered once its 200 is here (S1).

        Leaving the block closes the connection.

        Raises:
            ResponseError: the server refused it.
            ServerUnavailableError: nobody answers.
        """
        headers = [*self._headers, ("Accept", "text/event-stream")]
        request = httpcore2.Request("GET", self._url(path, query), headers=headers)
        async with self._open_stream_pool() as pool:
            with _translated(self.name):
                response = await pool.handle_async_request(request)
            try:
                if response.status != 200:
                    raise await self._refusal(path, response)
                async with aclosing(response.aiter_stream()) as chunks:
                    yield Chunks(self.name, chunks)
            finally:
                await response.aclose()

    async def _refusal(self, path: str, response: httpcore2.Response) -> ResponseError:
        with _translated(self.name):
            body = await response.aread()
        return Answer(f"GET /v1{path}", response.status, body).error()

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return self._origin + path + ("?" + urlencode(query) if query else "")


class Chunks:
    """The body of an endless answer, as it comes. Ends with the body."""

    def __init__(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        self._name = name
        self._chunks = chunks

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        """Wait for more.

        Raises:
            ServerUnavailableError: the body was cut off.
        """
        with _translated(self._name):
            return await anext(self._chunks)


@contextmanager
def _translated(name: str) -> Generator[None]:
    """Turn httpcore's errors into ours."""
    try:
        yield
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        reason = str(error).rstrip(".").lower() or "connection lost"
        raise ServerUnavailableError(f"lost the server at {name}: {reason}") from error


@asynccontextmanager
async def open_transport(
    name: str, host: str, token: str | None, connect: Connect, *, http2: bool = False
) -> AsyncGenerator[Transport]:
    """Open a transport; leaving the block closes its connections.

    Args:
        name: What messages call the server.
        host: The ``Host`` header.
        token: Sent with every request, if there is one (A1).
        connect: Opens a connection.
        http2: Speak HTTP/2, without asking first.
    """
    headers = {"Host": host, "User-Agent": f"crush-trio/{__version__}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"

    def open_pool() -> httpcore2.AsyncConnectionPool:
        return httpcore2.AsyncConnectionPool(
            max_connections=NO_LIMIT,
            http1=not http2,
            http2=http2,
            network_backend=StreamBackend(name, connect),
        )

    async with open_pool() as pool:
        # On HTTP/2 httpcore tells nobody that it lets a stream go, so that the server would take
        # the reader for one that is there for ever: there each has a connection, which it closes.
        own = open_pool if http2 else partial(nullcontext, pool)
        yield Transport(pool, own, name, headers)


def _message(body: bytes) -> str:
    """Return the message of an error body, or what text there is instead."""
    try:
        return msgspec.json.decode(body, type=ErrorBody).message
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace").strip()[:500]
