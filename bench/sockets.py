"""The benches' side of HTTP: plain sockets, one loop, and no more parsing than is needed.

A reader counts its bytes and notes when it first saw each mark that it was told to look for, so
that 50 of them cost little beside the server that is being measured.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, Self

COMPLETE = b'"type":"run_complete"'
"""In the last event of a run, from ours and from the bare server."""

START_LIMIT = 20.0
_TAIL = 64
"""Bytes kept of what came before; longer than any mark."""

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def request(method: str, path: str, body: Any = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


class Client:
    """One connection.

    Attributes:
        received: Bytes since the last :meth:`watch`.
        marks: When each mark was seen, in seconds of the common clock.
        keep: What was read, if it is told to keep that.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = 0
        self.marks: dict[bytes, float] = {}
        self.ended = False
        self.keep: bytes | None = None
        self._wanted: list[bytes] = []
        self._tail = b""

    @classmethod
    @contextmanager
    def patient(cls, port: int, check: Callable[[], None]) -> Generator[Self]:
        """Connect to a server that is still starting."""
        deadline = time.monotonic() + START_LIMIT
        client: Self | None = None
        while client is None:
            try:
                client = cls(port)
            except ConnectionRefusedError:
                check()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.002)
        with client:
            yield client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, method: str, path: str, body: Any = None) -> None:
        self.socket.sendall(request(method, path, body))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send one request and wait for the whole answer."""
        self.send(method, path, body)
        data = b""
        while True:
            more = self.socket.recv(2**18)
            if not more:
                raise ConnectionError(f"{method} {path}: the connection ended after {data!r}")
            data += more
            head, gap, rest = data.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if gap and len(rest) >= (int(length[1]) if length else 0):
                return int(head.split(maxsplit=2)[1]), rest

    def watch(self, *marks: bytes) -> None:
        """Look for these marks from now on."""
        self.received, self._tail = 0, b""
        self.marks.clear()
        self._wanted = list(marks)

    @property
    def satisfied(self) -> bool:
        return not self._wanted

    def read(self) -> None:
        data = self.socket.recv(2**18)
        now = time.monotonic()
        self.ended = not data
        self.received += len(data)
        if self.keep is not None:
            self.keep += data
        if not self._wanted:
            return
        seen = self._tail + data
        for mark in [mark for mark in self._wanted if mark in seen]:
            self.marks[mark] = now
            self._wanted.remove(mark)
        self._tail = seen[-_TAIL:]


def pump(clients: Iterable[Client], limit: float) -> None:
    """Read until every client has seen what it looks for."""
    deadline = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        waiting = 0
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
            waiting += not client.satisfied
        while waiting:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{waiting} readers have not seen all in {limit:g} s")
            for key, _ in ready:
                client: Client = key.data
                before = client.satisfied
                client.read()
                waiting -= client.satisfied and not before
                if client.ended:
                    selector.unregister(client.socket)
                    if not client.satisfied:
                        raise ConnectionError("a connection ended before all was seen")


def drain(clients: Sequence[Client], quiet: float = 0.15, limit: float = 5) -> None:
    """Read until nothing has come for a while, so that the next measurement begins clean."""
    deadline = time.monotonic() + limit
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while (ready := selector.select(quiet)) and time.monotonic() < deadline:
            for key, _ in ready:
                client: Client = key.data
                client.read()
                if client.ended:
                    raise ConnectionError("an event stream ended")


@contextmanager
def readers(port: int, route: str, count: int, *, query: str = "") -> Generator[list[Client]]:
    """Open event streams and wait until each has its head."""
    opened: list[Client] = []
    try:
        for number in range(count):
            client = Client(port)
            opened.append(client)
            client.watch(b" 200")
            who = f"client_id=00000000-0000-4000-8000-{number:012x}"
            client.send("GET", f"{route}/events?{who}{query}")
        pump(opened, 60)
        yield opened
    finally:
        for client in opened:
            client.socket.close()
