"""Bytes at HTTP/1.1: requests with mistakes in them, and noise."""

from __future__ import annotations

import random
import re

from mutation import cut, mutate

GLANCES = 0.3
"""How often an answer is waited for, before the end of our half cancels what is under way."""

GET = b"GET /v1/version HTTP/1.1\r\nHost: t\r\n\r\n"

CORPUS = (
    GET,
    GET * 3,
    (
        b"GET /v1/workspaces/x/events?client_id=00000000-0000-4000-8000-000000000001 HTTP/1.1\r\n"
        b"Host: t\r\nAccept: text/event-stream\r\n\r\n"
    ),
    b"HEAD /v1/workspaces/x/events?client_id=y HTTP/1.1\r\nHost: t\r\n\r\n" + GET,
    b'POST /v1/control HTTP/1.1\r\nHost: t\r\nContent-Length: 22\r\n\r\n{"command":"shutdown"}',
    b"POST /v1/control HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'a\r\n{"command"\r\n5;x=y\r\n:"x"}\r\n0\r\nTrailer: t\r\n\r\n' + GET,
    (
        b"POST /v1/workspaces/x/agent HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    ),
    (
        b"GET /v1/health HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ),
    (
        b"GET /v1/health HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    ),
    b"OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n",
    b"GET http://t/v1/health?a=b HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    b"GET /v1//workspaces/../%2e%2e/%2F?x HTTP/1.0\r\n\r\n",
    b"CONNECT t:80 HTTP/1.1\r\nHost: t\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"DELETE /v1/clients/%00%ff HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
    b"PUT /v1/workspaces/x/sessions/y HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n[1,2]",
)

TOKENS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n\r\n",
    b" ",
    b":",
    b"%00",
    b"%2F",
    b"//",
    b"?",
    b"#",
    b"\x80\xff",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"Content-Length: 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n",
    b"Host: a\r\n",
    b"Prefer: wait=0\r\n",
    b"x" * 5_000,
    b"X: " + b"y" * 70_000 + b"\r\n",
    b"A: b\r\n" * 500,
    GET,
)

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) \r\n")


def make(dice: random.Random) -> list[bytes]:
    """Return the pieces of one input."""
    kind = dice.randrange(20)
    if kind == 0:
        return cut(dice, dice.randbytes(dice.randrange(1, 300)))
    data = dice.choice(CORPUS)
    return cut(dice, data if kind == 1 else mutate(dice, data, TOKENS))


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of all that was answered."""
    return [int(status) for status in _STATUS.findall(answer)]
