"""A small application behind the real listener, and clients that can misbehave."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import h2.config
import h2.connection
import h2.events
import h11
import msgspec
import trio
from quart.wrappers.response import ResponseBody
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from crush_trio.addresses import Address
from crush_trio.server.body import read_body
from crush_trio.server.defaults import configure
from crush_trio.server.listen import serve
from crush_trio.server.problems import answer, empty, install_problems
from crush_trio.settings import Settings
from limits_kit import REAL_LIMIT

LOOPBACK = Address("tcp", host="127.0.0.1", port=0)
SETTINGS = Settings(
    send_deadline=0.3,
    drain_timeout=0.5,
    keep_alive_timeout=600,
    head_timeout=600,
    body_timeout=600,
)
"""What is not short is longer than any test waits: an end that it brings is none that was wanted."""
CHUNK = b"data: " + b"x" * 2**16 + b"\n\n"


class Note(msgspec.Struct, frozen=True):
    text: str = ""


class Streams:
    """What the application's event streams did, and the word that ends them."""

    def __init__(self) -> None:
        self.produced = 0
        self.open = 0
        self.closing = trio.Event()
        self.none_open = trio.Event()
        self.reached = trio.Event()


class Frames(ResponseBody):
    """An event stream: something at once, something at the end."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.first = True

    async def __aenter__(self) -> Frames:
        self.streams.open += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self.streams.open -= 1
        self.streams.none_open.set()

    def __aiter__(self) -> Frames:
        return self

    async def __anext__(self) -> bytes:
        if self.first:
            self.first = False
            return b"data: first\n\n"
        if self.streams.closing.is_set():
            raise StopAsyncIteration
        await self.streams.closing.wait()
        return b"data: last\n\n"


class Flood(Frames):
    """An endless stream, for readers that do not read."""

    async def __anext__(self) -> bytes:
        if not self.first:
            self.streams.produced += len(CHUNK)
        self.first = False
        await trio.lowlevel.checkpoint()
        if self.streams.closing.is_set():
            raise StopAsyncIteration
        return CHUNK


class Cut(Frames):
    """A body that fails in the middle."""

    async def __anext__(self) -> bytes:
        if not self.first:
            raise RuntimeError("in the middle")
        self.first = False
        return b"begun"


def make_app(streams: Streams, settings: Settings = SETTINGS) -> QuartTrio:
    """Return an application with one route for each thing that can happen."""
    app = QuartTrio("small")
    configure(app, settings)
    install_problems(app)
    for path, body, content_type in (
        ("/v1/events", Frames, "text/event-stream"),
        ("/v1/events/flood", Flood, "text/event-stream"),
        ("/v1/flood", Flood, "application/json"),
        ("/v1/cut", Cut, "text/plain"),
    ):
        app.add_url_rule(path, path, partial(_stream, body, streams, content_type))

    @app.get("/v1/health")
    async def health() -> Any:
        await trio.lowlevel.checkpoint()
        return empty()

    @app.get("/v1/quick")
    async def quick() -> Any:
        streams.reached.set()
        await trio.lowlevel.checkpoint()
        return answer("quick"), 200, {"x-quick": "a header that HPACK will remember"}

    @app.route("/v1/note", methods=["PUT", "GET", "DELETE"])
    async def note() -> Any:
        return answer(await read_body(Note))

    @app.post("/v1/echo/<text>")
    async def echo(text: str) -> Any:
        return answer({"path": text, "text": (await read_body(Note)).text})

    @app.get("/v1/bug")
    async def bug() -> Any:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("secret detail")

    @app.get("/v1/never")
    async def never() -> Any:
        await trio.sleep_forever()

    return app


async def _stream(body: type[Frames], streams: Streams, content_type: str) -> Any:
    await trio.lowlevel.checkpoint()
    return TrioResponse(body(streams), content_type=content_type)


@attrs.define(eq=False)
class Server:
    """A running server."""

    address: Address
    streams: Streams
    stop: trio.Event
    ended: trio.Event
    clients: list[trio.SocketStream]

    async def connect(self) -> trio.SocketStream:
        """Open a connection that is closed with the server, if not before."""
        if self.address.network == "unix":
            stream = await trio.open_unix_socket(self.address.path)
        else:
            stream = await trio.open_tcp_stream(self.address.host, self.address.port)
        self.clients.append(stream)
        return stream

    async def connect_h2(self) -> H2Client:
        return H2Client(await self.connect())

    async def status(self, path: str = "/v1/health") -> int:
        return (await self.request("GET", path)).status

    async def request(self, method: str, path: str, **more: Any) -> Reply:
        """Send one request on a connection of its own and return the whole answer."""
        async with await self.connect() as stream:
            return await request(stream, method, path, **more)


@asynccontextmanager
async def serving(
    app: Callable[..., Awaitable[None]] | None = None,
    *,
    streams: Streams | None = None,
    address: Address = LOOPBACK,
    settings: Settings = SETTINGS,
    shutdown: Callable[[], Awaitable[None]] | None = None,
    **more: Any,
) -> AsyncGenerator[Server]:
    """Serve ``app``; leaving the block stops the server, which must end by itself in time."""
    streams = streams or Streams()
    stop, bound, ended = trio.Event(), trio.Event(), trio.Event()
    server = Server(address, streams, stop, ended, [])

    async def settle() -> None:
        streams.closing.set()
        await trio.lowlevel.checkpoint()

    run = partial(
        serve,
        app or make_app(streams, settings),
        address,
        settings=settings,
        stop=stop,
        shutdown=shutdown or settle,
        **more,
    )

    async def host() -> None:
        async with trio.open_nursery() as nursery:
            server.address = await nursery.start(run)
            bound.set()
        ended.set()

    with trio.fail_after(REAL_LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host)
            await bound.wait()
            try:
                yield server
                stop.set()
                await ended.wait()
            finally:
                for client in server.clients:
                    client.socket.close()


@attrs.frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


async def request(
    stream: trio.abc.Stream,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> Reply:
    """Send one HTTP/1.1 request and return the whole answer.

    Raises:
        h11.RemoteProtocolError: the answer was cut off.
    """
    connection = h11.Connection(h11.CLIENT)
    fields = [("Host", "t"), *headers]
    if body or method == "POST":
        fields.append(("Content-Length", str(len(body))))
    head = h11.Request(method=method, target=path, headers=fields)
    await stream.send_all(connection.send(head) or b"")
    if body:
        await stream.send_all(connection.send(h11.Data(data=body)) or b"")
    connection.send(h11.EndOfMessage())
    return await read_reply(stream, connection)


async def read_reply(stream: trio.abc.Stream, connection: h11.Connection) -> Reply:
    reply: h11.Response | None = None
    content = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            reply = event
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert reply is not None
            fields = {name.decode(): value.decode() for name, value in reply.headers}
            return Reply(reply.status_code, fields, content)


async def read_until(stream: trio.abc.Stream, end: bytes) -> bytes:
    """Read up to and with ``end``, or to the end of the stream if ``end`` is empty."""
    read = b""
    while not end or end not in read:
        data = await stream.receive_some()
        if not data:
            assert not end, f"{end!r} never came, only {read!r}"
            break
        read += data
    return read


class H2Client:
    """One HTTP/2 connection with prior knowledge, as raw as a test wants it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.connection.initiate_connection()
        self._events: list[h2.events.Event] = []
        self.at_end = False

    async def send(
        self, method: str, path: str | None, *, end: bool = True, data: bytes = b""
    ) -> int:
        """Send one request, or its beginning, and return the id of its stream."""
        stream_id = self.connection.get_next_available_stream_id()
        headers = [(":method", method), (":authority", "t")]
        if path is not None:
            headers += [(":scheme", "http"), (":path", path)]
        self.connection.send_headers(stream_id, headers, end_stream=end)
        if data:
            self.connection.send_data(stream_id, data)
        await self.flush()
        return stream_id

    async def flush(self) -> None:
        await self.stream.send_all(self.connection.data_to_send())

    async def wait_for(
        self, kind: type[h2.events.Event], stream_id: int | None = None, *, acknowledge: bool = True
    ) -> Any:
        """Read up to the next event of a kind; None if the connection ends before."""
        while True:
            for place, event in enumerate(self._events):
                if isinstance(event, kind) and getattr(event, "stream_id", None) == stream_id:
                    del self._events[: place + 1]
                    return event
            self._events.clear()
            data = b"" if self.at_end else await self.stream.receive_some()
            if not data:
                self.at_end = True
                return None
            for event in self.connection.receive_data(data):
                self._events.append(event)
                if isinstance(event, h2.events.DataReceived) and acknowledge:
                    self.connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            await self.flush()

    async def status(self, method: str, path: str, **more: Any) -> int:
        """Send a request, wait for its answer and return the status."""
        stream_id = await self.send(method, path, **more)
        response = await self.wait_for(h2.events.ResponseReceived, stream_id)
        return int(dict(response.headers)[":status"])
