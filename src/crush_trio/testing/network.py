"""A network in memory: every connection between the clients and the server of one world.

It makes connections and their faults; it knows neither HTTP nor the server, which takes its end of
each from :meth:`Network.listen`. Synopsis, in a world that is open::

    world.network.next(SlowReader(1_000), Cut(after=300))  # the connection opened next
    world.network.connections[0].reset()                   # one that is open, now
"""

from __future__ import annotations

import errno
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from crush_trio.testing.faults import (
    Cut,
    Fault,
    HalfClose,
    Latency,
    Refused,
    Reset,
    ServerStop,
    SlowReader,
    StalledReader,
)
from crush_trio.testing.pipes import CAPACITY, Pipe
from crush_trio.testing.streams import MemoryStream, ServerStream, Socket
from crush_trio.testing.trace import Passed, Trace

BACKLOG = 4_096
"""Connections that may wait to be accepted, as with the real listener."""

FIRST_PORT = 40_000
"""The port of the first client; the following ones count on."""


class Connection:
    """One connection, from outside. All its methods are sync and act at once.

    Attributes:
        number: Counted from 1.
        label: Whose it is, if whoever has opened it said so.
        requests: What the client sends.
        answers: What the server sends.
        client: The client's end.
        server: The server's end.
    """

    def __init__(self, network: Network, number: int, label: str = "") -> None:
        self.number = number
        self.label = label
        self._network = network
        self.requests = Pipe(partial(self._note, ">"), network.capacity)
        self.answers = Pipe(partial(self._note, "<"), network.capacity)
        socket = Socket((network.host, FIRST_PORT + number), (network.host, network.port))
        self.client = MemoryStream(self.answers, self.requests)
        self.server = ServerStream(self.requests, self.answers, socket)

    def __repr__(self) -> str:
        return f"<Connection {self.number} sent {self.requests.sent} got {self.answers.taken}>"

    def suffer(self, *faults: Fault) -> None:
        """Begin faults, as if the connection had just been opened."""
        for fault in faults:
            self._happen(repr(fault))
            self._begin(fault)

    @property
    def open(self) -> bool:
        """Whether neither end has been closed, and nothing has broken it."""
        lost = self.requests.broken or self.answers.broken
        return not (lost or self.client.closed or self.server.closed)

    def reset(self) -> None:
        """Lose the connection and what is on its way; both ends find it broken."""
        self._happen("reset")
        self._break(keep=False)

    def cut(self) -> None:
        """Lose the connection; what has been sent still arrives, and then both find it broken."""
        self._happen("cut")
        self._break(keep=True)

    def hang_up(self) -> None:
        """Close the client's end, as the death of its process does."""
        self._happen("hang up")
        self.client.close()

    def half_close(self) -> None:
        """Let the server see the end of what the client sends; its answers still arrive."""
        self._happen("half close")
        self.requests.end()

    def stall(self) -> None:
        """Let the client read nothing more, until :meth:`resume`."""
        self._happen("stall")
        self.answers.appetite = self.answers.taken

    def resume(self) -> None:
        """Let the client read again, as fast as it can."""
        self._happen("resume")
        self.answers.appetite = self.answers.rate = math.inf
        self.answers.changed()

    def _stop_server(self) -> None:
        self._happen("server stop")
        self._network.stop_server()

    def _break(self, *, keep: bool) -> None:
        for pipe in (self.requests, self.answers):
            pipe.lose(keep=keep)

    def _begin(self, fault: Fault) -> None:
        match fault:
            case Latency(seconds=seconds):
                self.requests.latency = self.answers.latency = seconds
            case SlowReader(rate=rate):
                self.answers.rate = rate
            case StalledReader(after=count):
                self.answers.appetite = self.answers.taken + count
            case HalfClose(after=count):
                self.requests.at(count, self.half_close)
            case Cut(after=count, of=direction):
                pipe = self.answers if direction == "answers" else self.requests
                pipe.at(count, self.cut)
            case Reset(after=seconds):
                self._network.later(seconds, self.reset)
            case ServerStop(after=count):
                self.answers.at(count, self._stop_server)
            case Refused():
                self.reset()

    def _happen(self, what: str) -> None:
        self._note("!", what.encode())

    def _note(self, what: str, data: bytes) -> None:
        self._network.trace.passed.append(Passed(trio.current_time(), self.number, what, data))


@attrs.define(eq=False)
class Network:
    """All connections of one world. Use :func:`open_network`.

    Attributes:
        host: The server's address, which is the clients' too.
        port: The server's port.
        draw: Chooses the faults of a connection that no script names.
        stop_server: Tells the server to stop; what :class:`ServerStop` calls.
        capacity: Bytes on their way in one direction of a connection; for those opened from now on.
        connections: All that have been opened, in order.
        trace: What has passed.
    """

    _nursery: trio.Nursery
    host: str = "127.0.0.1"
    port: int = 8080
    draw: Callable[[], Sequence[Fault]] = tuple
    stop_server: Callable[[], None] = lambda: None
    capacity: int = CAPACITY
    connections: list[Connection] = attrs.field(factory=list[Connection], init=False)
    trace: Trace = attrs.field(factory=Trace, init=False)
    _listener: MemoryListener | None = attrs.field(default=None, init=False)
    _scripted: deque[Sequence[Fault]] = attrs.field(factory=deque[Sequence[Fault]], init=False)

    def next(self, *faults: Fault) -> None:
        """Give the connection that is opened next these faults; called again, the one after it."""
        self._scripted.append(faults)

    async def connect(self, *faults: Fault, label: str = "") -> MemoryStream:
        """Open a connection and return the client's end.

        Args:
            faults: What is wrong with it; if nothing is named, what :meth:`next` has said of it,
                or else what is drawn.
            label: Whose it is.

        Raises:
            ConnectionRefusedError: nobody listens, or a fault says so.
        """
        if not faults:
            faults = tuple(self._scripted.popleft() if self._scripted else self.draw())
        await trio.sleep(sum(each.seconds for each in faults if isinstance(each, Latency)))
        listener = self._listener
        if listener is None or any(isinstance(fault, Refused) for fault in faults):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        connection = Connection(self, len(self.connections) + 1, label)
        listener.offer(connection.server)
        self.connections.append(connection)
        connection.suffer(*faults)
        return connection.client

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[MemoryListener]:
        """Listen on the server's port; leaving the block lets nobody in any more."""
        assert self._listener is None, "somebody listens already"
        async with MemoryListener() as listener:
            self._listener = listener
            try:
                yield listener
            finally:
                self._listener = None

    def close_servers(self) -> None:
        """Close the server's end of every connection, as the death of its process does."""
        self._listener = None
        for connection in self.connections:
            connection.server.close()

    def later(self, seconds: float, happens: Callable[[], None]) -> None:
        """Let something happen in the network after so many seconds."""

        async def wait() -> None:
            await trio.sleep(seconds)
            happens()

        self._nursery.start_soon(wait)


class MemoryListener(trio.abc.Listener[ServerStream]):
    """Where the server takes its ends of new connections."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[ServerStream](BACKLOG)

    def offer(self, stream: ServerStream) -> None:
        """Let a new connection wait to be accepted.

        Raises:
            ConnectionRefusedError: nobody accepts any more.
        """
        try:
            self._send.send_nowait(stream)
        except trio.BrokenResourceError:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused") from None

    async def accept(self) -> ServerStream:
        """Wait for a new connection."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Listen no more; connections that nobody has accepted are closed."""
        while True:
            try:
                stream = self._receive.receive_nowait()
            except (trio.WouldBlock, trio.ClosedResourceError):
                break
            stream.close()
        self._receive.close()
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_network() -> AsyncGenerator[Network]:
    """Open a network; leaving the block ends its timers."""
    async with trio.open_nursery() as nursery:
        yield Network(nursery)
        nursery.cancel_scope.cancel("the network is closed")
