"""Hypercorn as it comes, over a small application, on the unix socket that the argument names.

Run by tests that show what the guard layer is for. SIGTERM stops it the way hypercorn's own
command line does.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from functools import partial
from typing import Any

import hypercorn.trio
import trio
from hypercorn.config import Config

CHUNK = b"x" * 2**16

counts = {"quick": 0, "flood": 0, "read": 0, "events": 0}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
    elif scope["type"] == "http":
        await answer(scope["path"], receive, send)


async def answer(path: str, receive: Any, send: Any) -> None:
    name = path.removeprefix("/v1/")
    status = 404 if path == "/nowhere" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    body = partial(send_body, send)
    if name == "never":
        await trio.sleep_forever()
    elif name == "quick":
        counts[name] += 1
    elif name == "cut":
        await body(b"begun", more=True)
        raise RuntimeError("in the middle")
    elif name == "read":
        while (message := await receive())["type"] == "http.request":
            counts[name] += len(message["body"])
            if not message["more_body"]:
                break
    elif name == "events":
        counts[name] += 1
        await body(b"first\n\n", more=True)
        while (await receive())["type"] != "http.disconnect":
            pass
        counts[name] -= 1
        return
    while name == "flood":
        counts[name] += len(CHUNK)
        await body(CHUNK, more=True)
        await trio.lowlevel.checkpoint()
    await body(json.dumps(counts).encode() if name == "counts" else b"", more=False)


async def send_body(send: Any, data: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def main() -> None:
    logging.disable()
    config = Config()
    config.bind = [f"unix:{sys.argv[1]}"]
    config.h2_max_concurrent_streams = 2_000
    config.keep_alive_max_requests = 2**31  # or event streams fall silent at its limit
    config.graceful_timeout = 0.2

    async def stopped() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                return

    async with trio.open_nursery() as nursery:
        # The WSGI half of its type is not known.
        serve: Any = hypercorn.trio.serve  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        await nursery.start(partial(serve, app, config, shutdown_trigger=stopped, mode="asgi"))
        print("listening", flush=True)  # noqa: T201


if __name__ == "__main__":
    trio.run(main)
