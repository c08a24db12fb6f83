"""Clients that mean harm, or behave as if: over a real socket, and afterwards the server serves on.

What :mod:`test_guard` shows of single rules is not repeated here. What the same attacks do to stock
hypercorn is in :mod:`test_stock`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import h2.events
import h11
import pytest
import trio
from h2.errors import ErrorCodes
from trio.testing import wait_all_tasks_blocked

from attack_kit import (
    DATA,
    FATAL,
    FLOODS,
    GREETING,
    TOO_MUCH,
    Attack,
    ask,
    frame,
    grow_the_header_table,
    last_words,
    reading,
    reset_rapidly,
    send_something_behind_a_stream_and_leave,
)
from crush_trio.server.guard.floods import RESETS
from crush_trio.server.listen import COMPLAINTS, CONCURRENT_STREAMS
from crush_trio.settings import Settings
from limits_kit import PROCESS_LIMIT
from people_kit import desk, events_path
from process_kit import open_server_process
from serving_kit import SETTINGS as QUICK
from serving_kit import H2Client, Server, Streams, make_app, read_until, request, serving
from world_kit import open_served_world

GET = b"GET /v1/health HTTP/1.1\r\nHost: t\r\n\r\n"
"""A whole request."""


@asynccontextmanager
async def attacked(settings: Settings = QUICK) -> AsyncGenerator[Server]:
    """Run a server; after the block it must still serve, on both protocols, and have nothing left."""
    async with serving(settings=settings) as server:
        before = await _tasks()
        yield server
        assert await server.status() == 200
        client = await server.connect_h2()
        assert await client.status("GET", "/v1/health") == 200
        for each in server.clients:
            each.socket.close()
        while await _tasks() > before:
            pass


async def _tasks() -> int:
    await wait_all_tasks_blocked(0.01)
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.promise("C3")
@pytest.mark.parametrize("attack", FATAL)
async def test_what_ends_a_stock_server_harms_nobody_here(attack: Attack) -> None:
    """Byte for byte the same."""
    async with attacked() as server:
        stream = await server.connect()
        with suppress(trio.BrokenResourceError):  # refused
            await attack(stream)
            async with reading(stream):
                assert await server.status() == 200


# --- floods of HTTP/2 frames ------------------------------------------------------------------


@pytest.mark.promise("C3")
async def test_a_rapid_reset_is_cut_short() -> None:
    """Of 10,000 requests that are taken back at once, few are worked on; the goodbye says why."""
    worked = 0
    streams = Streams()
    app = make_app(streams)

    @app.before_request
    async def count() -> None:
        nonlocal worked
        await trio.lowlevel.checkpoint()
        worked += 1

    async with serving(app, streams=streams) as server:
        stream = await server.connect()
        with suppress(trio.BrokenResourceError):
            await reset_rapidly(stream)
        assert await last_words(stream) == ErrorCodes.ENHANCE_YOUR_CALM
        assert worked <= 2 * RESETS
        assert await server.status() == 200


async def test_a_client_may_take_back_all_that_it_has_open() -> None:
    """As an application does that shuts down."""
    async with attacked() as server:
        client = await server.connect_h2()
        ids = [await client.send("GET", "/v1/never") for _ in range(CONCURRENT_STREAMS)]
        assert await server.status() == 200
        for stream_id in ids:
            client.connection.reset_stream(stream_id)
        assert await client.status("GET", "/v1/health") == 200


MALFORMED = b"".join(ask(2 * number + 1, path="no-slash" * 5) for number in range(2_000))
ENDED: dict[str, tuple[bytes, ErrorCodes]] = {
    **{name: (data, ErrorCodes.ENHANCE_YOUR_CALM) for name, data in FLOODS.items()},
    "empty data": (
        ask(1, "PUT", "/v1/note", end=False) + frame(DATA, 1) * 20_000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "made to reset": (MALFORMED, ErrorCodes.ENHANCE_YOUR_CALM),
    **TOO_MUCH,
}


@pytest.mark.promise("C3")
@pytest.mark.parametrize(("data", "reason"), ENDED.values(), ids=ENDED)
@pytest.mark.parametrize("deaf", [False, True], ids=["reads", "deaf"])
async def test_a_flood_ends_its_connection_with_a_reason(
    data: bytes, reason: ErrorCodes, *, deaf: bool
) -> None:
    """Also that of a client which reads none of the answers."""
    async with attacked() as server:
        stream = await server.connect()
        await stream.send_all(GREETING + data)
        if not deaf:
            assert await last_words(stream) == reason


async def test_the_header_table_of_a_client_is_bounded() -> None:
    """However much it allows for, so that distinct answers cannot fill the memory."""
    async with attacked() as server:
        stream = await server.connect()
        assert await grow_the_header_table(stream) == 4096
        client = H2Client(await server.connect())
        assert await client.status("GET", "/v1/quick") == 200


# --- requests that take their time, or too much room ------------------------------------------


@pytest.mark.promise("C3")
async def test_a_slow_head_has_its_time_whatever_arrives_of_it() -> None:
    """One byte after the other does not extend it: it is answered 408 and the connection ends."""
    async with attacked(attrs.evolve(QUICK, head_timeout=0.2)) as server:
        stream = await server.connect()
        begun = trio.current_time()

        async def trickle() -> None:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(GET[:-2])
                while True:
                    await stream.send_all(b"x: y\r\n")
                    await server.status()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
            nursery.cancel_scope.cancel("answered")
        assert trio.current_time() - begun >= 0.2


async def test_the_time_of_a_head_begins_with_its_first_byte() -> None:
    """A client that sends request upon request, each beginning in the piece that ends the one
    before, is not cut; nor is one whose next request waits behind an answer that takes long."""
    async with attacked(attrs.evolve(QUICK, head_timeout=1)) as server:
        stream = await server.connect()
        begun = trio.current_time()
        await stream.send_all(GET[:5])
        while trio.current_time() < begun + 1.5:
            await stream.send_all(GET[5:] + GET[:5])
            assert b"HTTP/1.1 200 " in await read_until(stream, b"\r\n\r\n")
        await stream.send_all(GET[5:])
        await read_until(stream, b"\r\n\r\n")

        waiting = await server.connect()
        await waiting.send_all(GET.replace(b"health", b"events") + GET[:9])
        await read_until(waiting, b"first\n\n")
        with trio.move_on_after(1.5) as waited:
            await waiting.receive_some()
        assert waited.cancelled_caught


@pytest.mark.promise("C4")
async def test_a_slow_body_is_answered_408() -> None:
    """On both protocols; a client that says something all the time is no exception."""
    async with attacked(attrs.evolve(QUICK, body_timeout=0.2)) as server:
        stream = await server.connect()
        await stream.send_all(b"PUT /v1/note HTTP/1.1\r\nHost: t\r\nContent-Length: 99\r\n\r\n{")
        client = await server.connect_h2()
        stream_id = await client.send("PUT", "/v1/note", end=False)
        for _ in range(3):
            await stream.send_all(b" ")
            client.connection.send_data(stream_id, b" ")
            await client.flush()
            await server.status()
        reply = await read_until(stream, b"}")
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"request body did not arrive within 0.2 s" in reply
        response = await client.wait_for(h2.events.ResponseReceived, stream_id)
        assert dict(response.headers)[":status"] == "408"
        assert await client.status("GET", "/v1/health") == 200


@pytest.mark.promise("C4")
async def test_a_large_head_is_refused() -> None:
    """431, whether it arrives at once or by and by; one that is large but not too large is served."""
    async with attacked() as server:
        fits = [("X", "x" * 60_000)]
        assert (await server.request("GET", "/v1/health", headers=fits)).status == 200
        stream = await server.connect()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(GET[:-2] + b"X: " + b"x" * 100_000)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 431 ")
        target = "/v1/health?" + "x" * 100_000
        stream = await server.connect()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(f"GET {target}".encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.promise("C4")
async def test_a_body_of_more_than_64_mib_is_refused_before_it_is_sent() -> None:
    """By what its length announces; the client hears the reason."""
    async with attacked(attrs.evolve(QUICK, body_bytes=Settings().body_bytes)) as server:
        stream = await server.connect()
        length = 64 * 2**20 + 1
        await stream.send_all(
            f"PUT /v1/note HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        reply = await read_until(stream, b"")
        assert reply.startswith(b"HTTP/1.1 413 ")
        assert b'{"message":"request body is larger than 64 MiB"}' in reply


@pytest.mark.promise("C4")
async def test_a_body_without_a_length_is_refused_when_it_has_become_too_large() -> None:
    """In chunks, and over HTTP/2."""
    async with attacked(attrs.evolve(QUICK, body_bytes=2**20)) as server:
        stream = await server.connect()
        await stream.send_all(
            b"PUT /v1/note HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"10000\r\n" + b" " * 2**16 + b"\r\n") * 20
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")
        client = await server.connect_h2()
        stream_id = await client.send("PUT", "/v1/note", end=False)
        await client.wait_for(h2.events.SettingsAcknowledged)
        for _ in range(2**20 // 16_000 + 1):
            while client.connection.local_flow_control_window(stream_id) < 16_000:
                await client.wait_for(h2.events.WindowUpdated, stream_id)
            client.connection.send_data(stream_id, b" " * 16_000)
            await client.flush()
        response = await client.wait_for(h2.events.ResponseReceived, stream_id)
        assert dict(response.headers)[":status"] == "413"
        assert await client.status("GET", "/v1/health") == 200


async def test_an_answer_before_the_end_of_its_request_says_that_it_is_the_last() -> None:
    """The connection ends with it; a client that did not know would send its next request in vain."""
    async with attacked() as server:
        stream = await server.connect()
        await stream.send_all(
            b"POST /nowhere HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n" + b"x" * 9_000
        )
        head = await read_until(stream, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 ")
        assert b"\r\nconnection: close\r\n" in head
        await stream.send_all(b"x" * 91_000)
        await read_until(stream, b"")


# --- requests in unusual order -------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    """All sent before the first answer is read; the bodies of the ones are not the heads of others."""
    async with attacked() as server:
        stream = await server.connect()
        texts = [f'{{"text":"{number}"}}' for number in range(200)]
        await stream.send_all(
            b"".join(
                f"PUT /v1/note HTTP/1.1\r\nHost: t\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
                for text in texts
            )
        )
        replies = await read_until(stream, texts[-1].encode())
        assert [line for line in replies.decode().split("\n") if line.startswith("{")] == texts


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("behind", [b"\r\n", b"GET /v1/never HTTP/1.1\r\n", b"x" * 2**20])
async def test_what_comes_behind_the_last_request_takes_nobodys_answer(
    version: str, behind: bytes
) -> None:
    """Some clients end a body with an empty line. The request was accepted, so it is answered."""
    async with attacked() as server:
        stream = await server.connect()
        head = f"PUT /v1/note HTTP/{version}\r\nHost: t\r\nContent-Length: 14\r\n"
        body = b'Connection: close\r\n\r\n{"text":"all"}'
        await stream.send_all(head.encode() + body + behind)
        answer = await read_until(stream, b"")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b'{"text":"all"}\n')


@pytest.mark.promise("S3", "W2")
async def test_the_end_of_a_client_with_something_behind_its_event_stream_is_seen() -> None:
    """What it has sent waits for no turn, and so does not hide that it has gone."""
    async with attacked() as server:
        await send_something_behind_a_stream_and_leave(await server.connect())
        await server.streams.none_open.wait()
        stream = await server.connect()
        await stream.send_all(GET.replace(b"health", b"events") + GET * 1_000 + GET[:9])
        await read_until(stream, b"first\n\n")
        await stream.send_all(GET * 1_000)
        await stream.aclose()
        while server.streams.open:
            await server.status()


@pytest.mark.promise("R2")
@pytest.mark.parametrize("path", ["/v1/never", "/v1/events"])
async def test_a_client_that_ends_its_half_counts_as_gone(path: str) -> None:
    """There is no telling it from one that has left, and what it asked for is let go."""
    async with attacked() as server:
        before = await _tasks()
        stream = await server.connect()
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        assert await server.status() == 200
        await stream.send_eof()
        await read_until(stream, b"")
        while await _tasks() > before:
            pass


async def test_a_client_that_expects_100_is_told_to_go_on() -> None:
    """Then its body is read; one that is too large is refused all the same."""
    async with attacked() as server:
        stream = await server.connect()
        head = b"PUT /v1/note HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: "
        await stream.send_all(head + b"12\r\n\r\n")
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b'{"text":"x"}')
        assert (await read_until(stream, b"}")).startswith(b"HTTP/1.1 200 ")
        await stream.send_all(head + b"99999999999\r\n\r\n")
        assert b"HTTP/1.1 413 " in await read_until(stream, b"}")


@pytest.mark.promise("C4")
@pytest.mark.parametrize("method", ["head", "Get", "x", "SEARCH", "M-1"])
async def test_methods_are_case_sensitive(method: str) -> None:
    """One that no route has is answered 405, however much it looks like one that a route has."""
    async with attacked() as server:
        assert (await server.request(method, "/v1/health")).status == 405
        client = await server.connect_h2()
        assert await client.status(method, "/v1/health") == 405


@pytest.mark.promise("S1", "W2")
async def test_a_head_on_an_event_stream_attaches_nobody(tmp_path: Path) -> None:
    """It is answered as the stream would be, without one, and its connection goes on."""
    async with open_served_world(tmp_path) as world, desk(world) as place:
        hosted = world.host.get(place.workspace.id)
        before = len(hosted.claims.clients())
        path = events_path(place.workspace)
        async with world.call("HEAD", path) as call:
            head = await call.head()
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"text/event-stream" in head
            assert b"connection: close" not in head.lower()
            assert len(hosted.claims.clients()) == before
            reply = await request(call.stream, "GET", "/v1/health")
            assert reply.status == 200
        client = H2Client(await world.connect())
        stream_id = await client.send("HEAD", path)
        response = await client.wait_for(h2.events.ResponseReceived, stream_id)
        assert dict(response.headers)["content-type"] == "text/event-stream"
        assert await client.wait_for(h2.events.StreamEnded, stream_id)
        assert len(hosted.claims.clients()) == before
        await client.stream.aclose()


# --- the whole server --------------------------------------------------------------------------


@pytest.mark.promise("C3")
async def test_connections_leave_descriptors_for_the_runs(tmp_path: Path) -> None:
    """With as many as the process may have, the last ones are refused, and the log does not grow with
    them; those before are served, and so is everybody when some have gone."""
    with trio.fail_after(PROCESS_LIMIT):
        async with (
            open_server_process(tmp_path, descriptors=120) as server,
            desk(server) as place,
        ):
            early = await server.connect()
            assert (await request(early, "GET", "/v1/health")).status == 200
            crowd = [await server.connect() for _ in range(100)]
            path = f"/v1/workspaces/{place.workspace.id}/sessions"
            assert (await request(early, "POST", path, b'{"title":"Another"}')).status == 200
            for _ in range(2 * COMPLAINTS):
                with pytest.raises((h11.RemoteProtocolError, trio.BrokenResourceError)):
                    await server.request("GET", "/v1/health")
            for stream in [early, *crowd]:
                await stream.aclose()
            await wait_all_tasks_blocked(0.1)
            assert (await server.request("GET", "/v1/health")).status == 200
            assert server.log.count(b"another one is refused") == COMPLAINTS
            assert b"raise the hard limit" in server.log
            assert b"Traceback" not in server.log
