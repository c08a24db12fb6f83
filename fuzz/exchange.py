"""Sending inputs and reading answers, on plain sockets."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs
import trio

PATIENCE = 30.0
"""Seconds after which a connection that should have ended is a finding, also on a busy machine."""

GLANCE = 0.015
"""Seconds to wait for an answer, before half of the connection is closed."""


async def throw(path: str, pieces: Sequence[bytes], *, glance: bool) -> bytes:
    """Send pieces on a connection of their own, and return all that comes until its end.

    Args:
        path: Of the server's socket.
        pieces: What to send.
        glance: Whether to wait for an answer first; the end of our half cancels what is under way.

    Raises:
        trio.TooSlowError: the server does not end the connection.
    """
    answer = b""
    with trio.fail_after(PATIENCE):
        async with await trio.open_unix_socket(path) as stream:
            with suppress(trio.BrokenResourceError):
                for piece in pieces:
                    await stream.send_all(piece)
                if glance:
                    with trio.move_on_after(GLANCE):
                        answer += await stream.receive_some()
                await stream.send_eof()
                while data := await stream.receive_some():
                    answer += data
    return answer


@attrs.frozen
class Reply:
    """A whole answer; that of an event stream has no body."""

    status: int
    kind: str
    body: bytes
    last: bool


async def ask(
    stream: trio.SocketStream, method: str, target: str, headers: Sequence[str], body: bytes | None
) -> Reply:
    """Send one request and return its answer.

    Raises:
        trio.BrokenResourceError: the connection has ended.
    """
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    head = "\r\n".join((f"{method} {target} HTTP/1.1", "Host: t", *headers, *length, "", ""))
    await stream.send_all(head.encode("latin-1") + (body or b""))
    return await _reply(stream, has_body=method != "HEAD")


async def _reply(stream: trio.SocketStream, *, has_body: bool) -> Reply:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await _more(stream)
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    kind = fields.get("content-type", "")
    streams = kind.startswith("text/event-stream") and has_body
    size = int(fields.get("content-length", "0")) if has_body else 0
    while len(rest) < size:
        rest += await _more(stream)
    last = streams or fields.get("connection") == "close"
    return Reply(int(first.split(" ")[1]), "" if streams else kind, rest[:size], last)


async def _more(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some()
    if not data:
        raise trio.BrokenResourceError("the connection has ended")
    return bytes(data)
