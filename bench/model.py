"""A model that costs next to nothing: an OpenAI-compatible endpoint in a process of its own.

    python bench/model.py PORT

The last directive in a request, ``[bench TOKENS SECONDS HOLD]``, is its script: how many tokens, a
write for each, over how many seconds (0: at full speed), and whether the answer then hangs. On its
output the process tells what happened when, one ``WHAT SESSION SECONDS`` a line, on the clock that
all processes of a machine share. It ends when its input ends.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush

FIRST = "first-token "
"""The text of every answer's first token; readers look for it."""

TOKEN = "token7 "
"""The others: 30,000 of them are about the 199 kB of the reference's measurement."""

PATIENCE = 60.0
"""Seconds that a write may wait for a server that is slower than its model."""

_SCRIPT = re.compile(rb"\[bench (\d+) ([\d.]+) ([01])\]")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_SESSION = re.compile(rb"x-session-id: *([^\r\n]+)", re.IGNORECASE)
_SMALL = b'"model":"small"'


def _event(change: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": change, "finish_reason": finish}
    return _event_of({"choices": [choice]})


def _event_of(fields: dict[str, object]) -> bytes:
    chunk = json.dumps({"id": "c", "model": "m", **fields})
    body = f"data: {chunk}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_FIRST = _event({"content": FIRST})
_TOKEN = _event({"content": TOKEN})
_USAGE = _event_of({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})
_END = _event({}, "stop") + _USAGE + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_TITLE = _HEAD + _event({"content": "A title"}) + _END


class Model:
    """All connections, and the tokens that are due. One thread; a write blocks it, with a bound."""

    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(0, selectors.EVENT_READ, self._stop)
        self._due: list[tuple[float, int, Connection]] = []
        self._ended = False

    def run(self) -> None:
        while not self._ended:
            pause = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(pause):
                act: Callable[[], None] = key.data
                act()
            while self._due and self._due[0][0] <= time.monotonic():
                heappop(self._due)[2].send_token()

    def schedule(self, when: float, connection: Connection) -> None:
        heappush(self._due, (when, id(connection), connection))

    def forget(self, accepted: socket.socket) -> None:
        self._selector.unregister(accepted)

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        accepted.settimeout(PATIENCE)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, accepted)
        self._selector.register(accepted, selectors.EVENT_READ, connection.read)

    def _stop(self) -> None:
        self._ended = not os.read(0, 1)


class Connection:
    """One client: a request in, its answer out, then the next one."""

    def __init__(self, model: Model, accepted: socket.socket) -> None:
        self._model = model
        self._socket = accepted
        self._request = bytearray()
        self._session = ""
        self._tokens = self._sent = 0
        self._pause = self._began = 0.0
        self._hold = self._closed = False

    def read(self) -> None:
        try:
            data = self._socket.recv(2**20)
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        self._request += data
        head, gap, _ = self._request.partition(b"\r\n\r\n")
        size = _LENGTH.search(head)
        if gap and size and len(self._request) >= len(head) + 4 + int(size[1]):
            session = _SESSION.search(head)
            self._answer(bytes(self._request), session[1].decode() if session else "-")
            self._request.clear()

    def _answer(self, request: bytes, session: str) -> None:
        if _SMALL in request:
            self._write(_TITLE)
            return
        tell("arrived", session)
        script = _SCRIPT.match(request, max(request.rfind(b"[bench "), 0))
        tokens, seconds, hold = script.groups() if script else (b"5", b"0", b"0")
        self._session, self._tokens, self._sent = session, int(tokens), 1
        self._pause, self._hold = float(seconds) / self._tokens, hold == b"1"
        self._began = time.monotonic()
        tell("began", session)
        self._write(_HEAD + _FIRST)
        if self._pause:
            self._model.schedule(self._began + self._pause, self)
        else:
            while self._sent < self._tokens and not self._closed:
                self._sent += 1
                self._write(_TOKEN)
            self._finish()

    def send_token(self) -> None:
        """Send the token that is due."""
        if self._closed:
            return
        if self._sent == self._tokens:
            self._finish()
            return
        self._sent += 1
        self._write(_TOKEN)
        self._model.schedule(self._began + self._sent * self._pause, self)

    def _finish(self) -> None:
        if not self._hold:
            self._session = ""
            self._write(_END)

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._session:
            tell("closed", self._session)
        self._model.forget(self._socket)
        self._socket.close()


def tell(what: str, session: str) -> None:
    with suppress(BlockingIOError):  # a crowd's bench does not listen; it must not stop the model
        os.write(1, f"{what} {session} {time.monotonic():.6f}\n".encode())


if __name__ == "__main__":
    os.set_blocking(1, False)
    Model(int(sys.argv[1])).run()
