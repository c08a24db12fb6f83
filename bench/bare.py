"""The same work without any of our promises: quart-trio on hypercorn as they come.

    python bench/bare.py PORT MODEL_PORT

It answers the same routes. A prompt is passed to the model over a plain socket, each token becomes
one event, and an event log that is never trimmed fans out to the streams. Nothing is stored, nobody
is asked for permission, no client can fall behind. What ours costs more than this is what ours does.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator

import hypercorn.trio
import msgspec
import trio
from hypercorn.config import Config
from quart import Response, request
from quart_trio import QuartTrio

CONTENT = re.compile(rb'"content": ?"([^"]*)"')


class Log:
    """Events of all time, and whoever waits for more."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self._readers = trio.lowlevel.ParkingLot()

    def publish(self, event: dict[str, str]) -> None:
        self.events.append(b"data: " + msgspec.json.encode(event) + b"\n\n")
        self._readers.unpark_all()

    async def follow(self) -> AsyncGenerator[bytes]:
        cursor = len(self.events)
        yield b"\n"
        while True:
            if cursor == len(self.events):
                await self._readers.park()
            chunk, cursor = b"".join(self.events[cursor:]), len(self.events)
            yield chunk


class Models:
    """Plain connections to the model; an idle one is used again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[trio.SocketStream] = []

    async def stream(self, session: str, messages: list[bytes]) -> AsyncGenerator[str]:
        body = b'{"model":"large","stream":true,"messages":[' + b",".join(messages) + b"]}"
        head = f"POST / HTTP/1.1\r\nx-session-id: {session}\r\ncontent-length: {len(body)}\r\n\r\n"
        stream = (
            self._idle.pop() if self._idle else await trio.open_tcp_stream("127.0.0.1", self._port)
        )
        whole = False
        try:
            await stream.send_all(head.encode() + body)
            while not whole:
                data = await stream.receive_some(65536)
                whole = b"[DONE]" in data or not data
                for found in CONTENT.finditer(data):
                    yield found[1].decode()
        finally:
            if whole:
                self._idle.append(stream)
            else:
                await trio.aclose_forcefully(stream)


def encode(role: str, content: str) -> bytes:
    return msgspec.json.encode({"role": role, "content": content})


def make_app(nursery: trio.Nursery, model_port: int) -> QuartTrio:  # noqa: C901  a list of routes
    app = QuartTrio("bare")
    app.config["RESPONSE_TIMEOUT"] = None
    log, models = Log(), Models(model_port)
    histories: dict[str, list[bytes]] = defaultdict(list)
    running: dict[str, trio.CancelScope] = {}

    async def run(session: str, prompt: str, done: trio.Event) -> None:
        history = histories[session]
        history.append(encode("user", prompt))
        said: list[str] = []
        with trio.CancelScope() as running[session]:
            async for token in models.stream(session, history):
                said.append(token)
                log.publish({"type": "token", "text": token})
        history.append(encode("assistant", "".join(said)))
        log.publish({"type": "run_complete", "session_id": session})
        done.set()

    @app.get("/v1/health")
    async def health() -> Response:
        return Response(b"", 200)

    @app.post("/v1/workspaces")
    async def workspace() -> Response:
        return Response(json.dumps({"id": "w"}), 200)

    @app.post("/v1/workspaces/w/sessions")
    async def create() -> Response:
        return Response(json.dumps({"id": f"s{time.monotonic_ns()}"}), 200)

    @app.put("/v1/workspaces/w/sessions/<session>")
    async def rename(session: str) -> Response:  # noqa: ARG001  a part of the path
        log.publish({"type": "session", **json.loads(await request.get_data())})
        return Response(b"{}", 200)

    @app.get("/v1/workspaces/w/events")
    async def events() -> Response:
        return Response(log.follow(), 200, content_type="text/event-stream")

    @app.post("/v1/workspaces/w/agent")
    async def prompt() -> Response:
        body = json.loads(await request.get_data())
        done = trio.Event()
        nursery.start_soon(run, body["session_id"], body["prompt"], done)
        if body.get("run_id"):
            return Response(b"", 202)
        await done.wait()
        return Response(b"", 200)

    @app.post("/v1/workspaces/w/agent/sessions/<session>/cancel")
    async def cancel(session: str) -> Response:
        running[session].cancel()
        return Response(b"{}", 200)

    return app


async def main(port: int, model_port: int) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.backlog = 4096
    config.keep_alive_max_requests = 2**31  # else the benches must connect anew now and then
    config.keep_alive_timeout = 120  # or it closes what it has been too busy to read
    config.loglevel = "ERROR"
    async with trio.open_nursery() as nursery:
        serve = hypercorn.trio.serve  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        await serve(make_app(nursery, model_port), config)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
