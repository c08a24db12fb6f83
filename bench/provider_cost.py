"""What the OpenAI-compatible provider costs: CPU a token, and time to send a long history.

    python bench/provider_cost.py [--tokens 2000] [--messages 842] [--streams 200]

The model server is a process of its own, so the CPU is the provider's. Compare numbers of one
run only: the machine is part of them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from functools import partial

import trio

from crush_trio.providers.base import (
    CalledTool,
    Delta,
    ModelMessage,
    ModelRequest,
    Provider,
    TextDelta,
    ToolSpec,
)
from crush_trio.providers.chat import encode_request
from crush_trio.providers.openai import open_openai_provider

LIMIT = 120.0
"""Seconds that the whole bench may take."""


def canned(tokens: int) -> list[bytes]:
    """An HTTP answer with one event, in one piece of the chunked coding, for each token."""
    delta: dict[str, object] = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
    end: dict[str, object] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [json.dumps({"id": "c", "model": "m", "choices": [delta]})] * tokens
    events += [json.dumps({"id": "c", "model": "m", "choices": [end]}), "[DONE]"]
    lines = [f"data: {event}\n\n".encode() for event in events]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    pieces = [b"%x\r\n%s\r\n" % (len(line), line) for line in lines]
    return [head, b"transfer-encoding: chunked\r\n\r\n", *pieces, b"0\r\n\r\n"]


async def serve_model(tokens: int) -> None:
    """Answer as fast as possible; ends when its input ends.

    The model "packed" answers with this many tokens in one write, "drip" with a write for each.
    """
    drip = canned(tokens)
    packed, short = [b"".join(drip)], [b"".join(canned(1))]

    async def answer(stream: trio.SocketStream) -> None:
        data = b""
        async for more in stream:
            data += more
            head, gap, body = data.partition(b"\r\n\r\n")
            size = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            if gap and size and len(body) >= int(size[1]):
                which = {b"packed": packed, b"drip": drip}.get(body.split(b'"', 4)[3], short)
                for piece in which:
                    await stream.send_all(piece)
                data = b""

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1", backlog=4096)
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        print(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel("the bench is over")


@contextmanager
def model_process(tokens: int) -> Generator[str]:
    command = [sys.executable, __file__, "--serve", "--tokens", str(tokens)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def conversation(count: int) -> list[ModelMessage]:
    """A history of ``count`` messages, 797 kB at 842 of them as in the reference measurement."""
    messages: list[ModelMessage] = [ModelMessage("system", "You are a coding agent. " * 40)]
    while len(messages) < count - 1:
        call = CalledTool(f"call_{len(messages)}", "bash", '{"command": "ls -la"}')
        messages += [
            ModelMessage("user", "Please look again. " * 40),
            ModelMessage("assistant", "I look. " * 90, tool_calls=(call,)),
            ModelMessage("tool", "-rw-r--r-- 1 file.py\n" * 60, tool_call_id=call.id),
        ]
    return [*messages[: count - 1], ModelMessage("user", "And now?")]


TOOLS = [
    ToolSpec(f"tool_{n}", "What it does. " * 80, {"type": "object", "properties": {"a": {}}})
    for n in range(20)
]


async def drain(deltas: AsyncIterator[Delta]) -> int:
    return sum([isinstance(delta, TextDelta) async for delta in deltas])


async def token_cost(provider: Provider, model: str, tokens: int) -> None:
    request = ModelRequest(model, [ModelMessage("user", "go")])
    walls: list[float] = []
    costs: list[float] = []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        async with provider.stream(request) as deltas:
            assert await drain(deltas) == tokens
        walls.append(time.perf_counter() - wall)
        costs.append((time.process_time() - cpu) / tokens)
    print(f"{tokens} tokens, {model}: {statistics.median(walls) * 1e3:.0f} ms", end=", ")
    print(f"{statistics.median(costs) * 1e6:.1f} us of CPU a token (aim 54)")


async def history_cost(provider: Provider, count: int) -> None:
    messages = conversation(count)
    fresh = conversation(count)
    size = len(encode_request(ModelRequest("short", messages, TOOLS)))
    for name, history in (("nothing encoded", fresh), ("encoded before", messages)):
        times: list[float] = []
        cpu = 0.0
        for _ in range(1 if history is fresh else 9):
            start, cpu = time.perf_counter(), time.process_time()
            async with provider.stream(ModelRequest("short", history, TOOLS)) as deltas:
                await anext(deltas)
                times.append(time.perf_counter() - start)
                cpu = time.process_time() - cpu
                await drain(deltas)
        print(f"{count} messages, {size / 1e3:.0f} kB, {name}:", end=" ")
        print(f"{statistics.median(times) * 1e3:.1f} ms to the first delta,", end=" ")
        print(f"{cpu * 1e3:.1f} ms of CPU (aim 10)")
    times = []
    for _ in range(9):
        start = time.perf_counter()
        encode_request(ModelRequest("short", messages, TOOLS))
        times.append(time.perf_counter() - start)
    print(f"  of it the body: {statistics.median(times) * 1e3:.2f} ms")


async def crowd_cost(provider: Provider, streams: int) -> None:
    request = ModelRequest("short", [ModelMessage("user", "go")])

    async def one() -> None:
        async with provider.stream(request) as deltas:
            await drain(deltas)

    wall, cpu = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(one)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{streams} short answers at once: {wall:.2f} s, {cpu / streams * 1e3:.2f} ms of CPU each"
    )


async def main(base_url: str, tokens: int, messages: int, streams: int) -> None:
    with trio.fail_after(LIMIT):
        async with open_openai_provider(name="bench", base_url=base_url, api_key="k") as provider:
            start = time.perf_counter()
            await crowd_cost(provider, 1)
            print(f"first request, imports included: {time.perf_counter() - start:.2f} s")
            await token_cost(provider, "packed", tokens)
            await token_cost(provider, "drip", tokens)
            await history_cost(provider, messages)
            await crowd_cost(provider, streams)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=842)
    parser.add_argument("--streams", type=int, default=200)
    given = parser.parse_args()
    if given.serve:
        trio.run(serve_model, given.tokens)
    else:
        with model_process(given.tokens) as url:
            trio.run(partial(main, url, given.tokens, given.messages, given.streams))
