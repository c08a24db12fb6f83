"""One prompt, and when each thing that follows from it happened."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Sequence

import attrs

from model import FIRST
from processes import Model, Server
from sockets import COMPLETE, Client, drain, pump

_numbers = itertools.count()


@attrs.frozen
class Timing:
    """What one prompt took, in seconds from the moment in which it was sent; sizes in bytes.

    Attributes:
        arrived: Its request had arrived at the model, whole.
        first_text: From the model's first byte to the first text at the last reader.
        completed: The last reader had its ``run_complete``.
        cpu: CPU of the server, until then.
        received: What one reader got.
    """

    arrived: float
    first_text: float
    completed: float
    cpu: float
    received: float


def script(tokens: int, seconds: float = 0, *, hold: bool = False) -> str:
    return f"Go on. [bench {tokens} {seconds} {hold:d}]"


def prompt(
    server: Server,
    model: Model,
    session: str,
    readers: Sequence[Client],
    *,
    text: str,
    limit: float = 60,
) -> Timing:
    """Send a prompt as a terminal client does, and wait until every reader has its end."""
    model.forget()
    drain(readers, 0.05)
    for reader in readers:
        reader.watch(FIRST.encode(), COMPLETE)
    cpu, sent = server.cpu, time.monotonic()
    post(server, session, text)
    pump([*readers, server.client], limit)
    cpu = server.cpu - cpu
    began = model.when("began", session)
    return Timing(
        model.when("arrived", session) - sent,
        max(reader.marks[FIRST.encode()] for reader in readers) - began,
        max(reader.marks[COMPLETE] for reader in readers) - sent,
        cpu,
        statistics.median(reader.received for reader in readers),
    )


def post(server: Server, session: str, text: str) -> None:
    """Send a prompt; its 202 is looked for by the next ``pump`` over the server's client."""
    body = {"session_id": session, "prompt": text, "run_id": f"bench-{next(_numbers)}"}
    server.client.watch(b"HTTP/1.1 202")
    server.client.send("POST", f"{server.route}/agent", body)


def rename(server: Server, session: str, title: str) -> None:
    """Give a session a title, which is one event."""
    body = {"id": session, "title": title}
    status, answer = server.client.ask("PUT", f"{server.route}/sessions/{session}", body)
    assert status == 200, answer
