"""Which protocols are spoken where, and for how long a quiet connection stays."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import h2.events
import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.typing import ASGIFramework
from trio.testing import MockClock, memory_stream_pair

from attack_kit import GREETING, HEADERS, ask, block, frame
from crush_trio.addresses import Address
from crush_trio.server.guard import GuardedTCPServer, ServerContext
from crush_trio.server.listen import _config
from crush_trio.settings import Settings
from serving_kit import LOOPBACK, H2Client, Streams, make_app, request, serving
from world_kit import _Endpoint


@pytest.mark.parametrize("network", ["tcp", "unix"])
async def test_both_protocols_are_spoken_at_one_address(tmp_path: Path, network: str) -> None:
    """HTTP/2 with prior knowledge; an offer to change to it is ignored (wire contract 1.1)."""
    unix = Address("unix", path=str(tmp_path / "server.sock"))
    async with serving(address=unix if network == "unix" else LOOPBACK) as server:
        assert await server.status() == 200
        client = await server.connect_h2()
        assert await client.status("GET", "/v1/health") == 200
        offer = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]
        asked = [*offer, ("HTTP2-Settings", "AAMAAABkAAQAAP__")]
        assert (await server.request("GET", "/v1/health", headers=asked)).status == 200


async def _streams_with(
    client: H2Client,
    kind: type[h2.events.DataReceived | h2.events.StreamEnded],
    number: int,
) -> set[int]:
    """Read until so many streams had an event of a kind; return their ids."""
    found = set[int]()
    while len(found) < number:
        data = await client.stream.receive_some()
        assert data
        events = client.connection.receive_data(bytes(data))
        found |= {event.stream_id for event in events if isinstance(event, kind)}
        await client.flush()
    return found


async def test_200_streams_of_one_http2_connection_work_side_by_side() -> None:
    """All are open at once, and each gets what is its own."""
    async with serving() as server:
        client = await server.connect_h2()
        streams = {await client.send("GET", "/v1/events") for _ in range(200)}
        assert await _streams_with(client, h2.events.DataReceived, 200) == streams
        assert server.streams.open == 200
        quick = await client.send("GET", "/v1/quick")
        assert await _streams_with(client, h2.events.StreamEnded, 1) == {quick}
        server.streams.closing.set()
        assert await _streams_with(client, h2.events.StreamEnded, 200) == streams


@asynccontextmanager
async def _open_connection() -> AsyncGenerator[trio.abc.Stream]:
    """Give a client's end of a connection to a server with the usual settings."""
    settings = Settings()
    app = ASGIWrapper(cast("ASGIFramework", make_app(Streams(), settings)))
    ours, theirs = memory_stream_pair()
    endpoint = cast("trio.SocketStream", _Endpoint(theirs))
    context = ServerContext(settings.send_deadline)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(GuardedTCPServer(app, _config(settings), context, {}, endpoint).run)
        yield ours


async def _use_h1(stream: trio.abc.Stream) -> int:
    return (await request(stream, "GET", "/v1/health")).status


@pytest.mark.parametrize("protocol", ["h1", "h2"])
async def test_an_idle_connection_stays_for_two_minutes(
    autojump_clock: MockClock, protocol: str
) -> None:
    """Go's clients keep theirs for 90 s, and would post into a connection that closes earlier."""
    async with _open_connection() as ours:
        client = H2Client(ours) if protocol == "h2" else None

        async def use() -> int:
            return await (client.status("GET", "/v1/health") if client else _use_h1(ours))

        with trio.fail_after(600):
            assert await use() == 200
            await trio.sleep(119)
            assert await use() == 200
            idle_since = trio.current_time()
            if client:
                assert await client.wait_for(h2.events.ConnectionTerminated)
            else:
                assert await ours.receive_some() == b""
            assert trio.current_time() - idle_since == pytest.approx(120)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"PRI * HTTP/2.0\r\n\r\n",
        GREETING,
        GREETING + ask(1, path="no path"),
        GREETING + frame(HEADERS, 1, block()[:5]),
        GREETING + ask(1, "POST", "/nowhere", end=False),
        b"GET /v1/quick HTTP/1.1\r\nHost: t\r\n\r\n",
    ],
    ids=["nothing", "half", "greeting", "refused", "begun", "answered", "h1"],
)
async def test_a_connection_on_which_nothing_is_asked_does_not_stay_for_ever(
    autojump_clock: MockClock, said: bytes
) -> None:
    """Whatever was said before: else a few thousand of them take the room of everybody else."""
    async with _open_connection() as ours:
        with trio.fail_after(121):
            await ours.send_all(said)
            while await ours.receive_some():
                pass
        assert trio.current_time() == pytest.approx(120, abs=1)
