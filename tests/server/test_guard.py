"""What one connection does to itself must not be felt by another (C3, S3, S6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import attrs
import h2.events
import h11
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from trio.testing import wait_all_tasks_blocked

from crush_trio.addresses import Address
from serving_kit import (
    SETTINGS,
    H2Client,
    Server,
    Streams,
    read_reply,
    read_until,
    request,
    serving,
)

Use = Callable[[trio.SocketStream], Awaitable[None]]

EVENTS = b"GET /v1/events HTTP/1.1\r\nHost: t\r\n\r\n"


def unix(directory: Path) -> Address:
    """Return an address whose sockets are full when they are full: TCP finds more room by and by."""
    return Address("unix", path=str(directory / "server.sock"))


async def assert_serves(server: Server) -> None:
    assert (await server.request("GET", "/v1/health")).status == 200


# --- a client that breaks the rules ---------------------------------------------------


@pytest.mark.promise("C3")
async def test_an_early_answer_to_an_http2_upload_harms_nobody() -> None:
    """DATA that arrives after its stream was answered is taken and thrown away."""
    async with serving() as server:
        client = await server.connect_h2()
        stream_id = await client.send("POST", "/nowhere", end=False)
        response = await client.wait_for(h2.events.ResponseReceived, stream_id)
        assert dict(response.headers)[":status"] == "404"
        await client.wait_for(h2.events.StreamEnded, stream_id)
        for _ in range(4):
            client.connection.send_data(stream_id, b"x" * 16_000)
        client.connection.end_stream(stream_id)
        assert await client.status("GET", "/v1/health") == 200
        await assert_serves(server)


@pytest.mark.promise("C3")
async def test_priorities_of_many_streams_are_ignored() -> None:
    """PRIORITY is obsolete; more than a thousand of them are as good as none."""
    async with serving() as server:
        client = await server.connect_h2()
        for number in range(1_200):
            client.connection.prioritize(2 * number + 1, weight=16)
        assert await client.status("GET", "/v1/health") == 200
        await assert_serves(server)


@pytest.mark.promise("C3")
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/hé"), ("CONNECT", None), ("GET", "v1/health"), ("GET", "/a b"), ("é", "/")],
)
async def test_a_malformed_http2_request_ends_its_stream_only(
    method: str, path: str | None
) -> None:
    """The connection goes on."""
    async with serving() as server:
        client = await server.connect_h2()
        bad = await client.send(method, path)
        reset = await client.wait_for(h2.events.StreamReset, bad)
        assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
        assert await client.status("GET", "/v1/health") == 200


@pytest.mark.promise("C3")
async def test_more_streams_than_allowed_harm_nobody_else() -> None:
    """A client that ignores the limit loses its connection at most."""
    async with serving() as server:
        client = await server.connect_h2()
        await client.flush()
        await client.wait_for(h2.events.RemoteSettingsChanged)
        client.connection.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = (
            5_000  # the client's idea of the limit
        )
        client.connection.remote_settings.acknowledge()
        with suppress(trio.BrokenResourceError):  # closed, with or without a reset
            for _ in range(1_200):
                await client.send("GET", "/v1/never")
            await read_until(client.stream, b"")
        await assert_serves(server)


@pytest.mark.promise("C3")
async def test_an_upgrade_to_websocket_is_ignored() -> None:
    """The request is answered as if it had not asked, and a byte behind it is the next request."""
    async with serving() as server:
        stream = await server.connect()
        await stream.send_all(
            b"GET /v1/health HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nG"
        )
        assert (await read_reply(stream, _awaiting_reply())).status == 200
        await stream.send_all(b"ET /v1/health HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await read_reply(stream, _awaiting_reply())).status == 200
        await assert_serves(server)


async def test_the_end_of_a_client_that_asked_to_upgrade_is_seen() -> None:
    """An event stream of a client that offers h2c, as some libraries always do, ends with it."""
    async with serving() as server:
        stream = await server.connect()
        await stream.send_all(
            EVENTS[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        await read_until(stream, b"first\n\n")
        await stream.aclose()
        await server.streams.none_open.wait()


@pytest.mark.promise("C3")
async def test_bytes_that_are_no_http_get_400_and_harm_nobody() -> None:
    """And the connection ends."""
    async with serving() as server:
        stream = await server.connect()
        await stream.send_all(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await read_until(stream, b"")).startswith(b"HTTP/1.1 400 ")
        await assert_serves(server)


# --- responses that end badly, and well --------------------------------------------


async def test_an_error_in_the_middle_of_an_answer_cuts_it_off() -> None:
    """HTTP/1.1: the client can tell that the body is incomplete."""
    async with serving() as server:
        with pytest.raises(h11.RemoteProtocolError):
            await server.request("GET", "/v1/cut")
        await assert_serves(server)


async def test_an_error_in_the_middle_of_an_http2_answer_resets_its_stream() -> None:
    """The client does not wait for ever, and its other streams go on."""
    async with serving() as server:
        client = await server.connect_h2()
        cut = await client.send("GET", "/v1/cut")
        reset = await client.wait_for(h2.events.StreamReset, cut)
        assert reset.error_code == ErrorCodes.INTERNAL_ERROR
        assert await client.status("GET", "/v1/health") == 200


@pytest.mark.promise("S6")
async def test_an_event_stream_ends_with_its_connection() -> None:
    """HTTP/1.1: no chunks; the end of the connection is the proper end of the body."""
    async with serving() as server:
        stream = await server.connect()
        await stream.send_all(EVENTS)
        head, _, body = (await read_until(stream, b"first\n\n")).partition(b"\r\n\r\n")
        assert b"\r\nconnection: close" in head.lower()
        assert b"transfer-encoding" not in head.lower()
        server.stop.set()
        assert body + await read_until(stream, b"") == b"data: first\n\ndata: last\n\n"


@pytest.mark.promise("S6")
async def test_an_http2_event_stream_ends_with_end_stream() -> None:
    """Also when it is the server that ends it, and the connection says goodbye."""
    async with serving() as server:
        client = await server.connect_h2()
        events = await client.send("GET", "/v1/events")
        await client.wait_for(h2.events.DataReceived, events)
        server.stop.set()
        assert await client.wait_for(h2.events.StreamEnded, events)
        assert await client.wait_for(h2.events.ConnectionTerminated)


# --- readers that do not read --------------------------------------------------------


@pytest.mark.promise("S3")
async def test_a_stalled_http1_reader_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Its event stream has waited in peace until the server stops, then only for the deadline."""
    settings = attrs.evolve(SETTINGS, drain_timeout=600)
    async with serving(settings=settings, address=unix(tmp_path)) as server:
        stream = await server.connect()
        await stream.send_all(EVENTS.replace(b"events", b"events/flood"))
        await _stall(server)
        server.stop.set()
        await server.ended.wait()
        assert server.streams.none_open.is_set()


@pytest.mark.promise("S3")
async def test_a_stalled_http2_reader_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Neither one that gives no window, nor one that does not read its socket."""
    settings = attrs.evolve(SETTINGS, drain_timeout=600)
    async with serving(settings=settings, address=unix(tmp_path)) as server:
        windowless = await server.connect_h2()
        await windowless.send("GET", "/v1/events/flood")
        deaf = await server.connect_h2()
        deaf.connection.increment_flow_control_window(2**30)
        deaf.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        await deaf.send("GET", "/v1/events/flood")
        await _stall(server)
        server.stop.set()
        await server.ended.wait()


@pytest.mark.promise("S3")
async def test_a_stalled_reader_does_not_hold_up_those_who_wait_for_its_stream(
    tmp_path: Path,
) -> None:
    """Its deadline runs from the stop on, not only once the runs have been settled."""
    streams = Streams()

    async def shutdown() -> None:
        streams.closing.set()
        await streams.none_open.wait()

    settings = attrs.evolve(SETTINGS, drain_timeout=600)
    async with serving(
        streams=streams, settings=settings, shutdown=shutdown, address=unix(tmp_path)
    ) as server:
        stream = await server.connect()
        await stream.send_all(EVENTS.replace(b"events", b"events/flood"))
        await _stall(server)
        server.stop.set()
        await server.ended.wait()


@pytest.mark.promise("S3")
async def test_a_stalled_event_stream_is_not_cut_while_the_server_runs(tmp_path: Path) -> None:
    """After several send deadlines the reader finds all of it."""
    settings = attrs.evolve(SETTINGS, send_deadline=0.05)
    async with serving(settings=settings, address=unix(tmp_path)) as server:
        h1 = await server.connect()
        await h1.send_all(EVENTS.replace(b"events", b"events/flood"))
        h2_client = await server.connect_h2()
        await h2_client.send("GET", "/v1/events/flood")
        await _stall(server)
        with pytest.raises(trio.BrokenResourceError):  # this one is cut: so deadlines have passed
            await _outwait_deadline(server)
        assert server.streams.open == 2
        server.streams.closing.set()
        body = await read_until(h1, b"")
        assert body.endswith(b"x\n\n")
        assert await h2_client.wait_for(h2.events.StreamEnded, 1)


@pytest.mark.promise("S3")
async def test_a_slow_http2_reader_costs_a_bounded_buffer(tmp_path: Path) -> None:
    """The producer stops when window and buffer are full."""
    async with serving(address=unix(tmp_path)) as server:
        client = await server.connect_h2()
        await client.send("GET", "/v1/events/flood")
        await client.wait_for(h2.events.DataReceived, 1, acknowledge=False)
        await _stall(server)
        assert server.streams.produced <= 65_535 + 3 * 2**16


@pytest.mark.parametrize("how", ["stream and connection", "settings and connection"])
async def test_an_http2_reader_that_widens_its_windows_gets_the_rest(
    tmp_path: Path, how: str
) -> None:
    """However it does that, and in however many frames: all of a read count together."""
    async with serving(address=unix(tmp_path)) as server:
        client = await server.connect_h2()
        stream_id = await client.send("GET", "/v1/events/flood")
        got = 0
        while got < 65_535:
            event = await client.wait_for(h2.events.DataReceived, stream_id, acknowledge=False)
            got += len(event.data)
        for _ in range(1_000):
            client.connection.increment_flow_control_window(16)
        if how.startswith("stream"):
            for _ in range(1_000):
                client.connection.increment_flow_control_window(16, stream_id)
        else:
            client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535 + 16_000})
        await client.flush()
        while got < 65_535 + 16_000:
            event = await client.wait_for(h2.events.DataReceived, stream_id, acknowledge=False)
            got += len(event.data)
        assert await client.status("GET", "/v1/health") == 200


async def test_a_stalled_reader_of_another_answer_is_given_up(tmp_path: Path) -> None:
    """After the send deadline, on HTTP/1.1 and on HTTP/2 without a window."""
    async with serving(address=unix(tmp_path)) as server:
        with pytest.raises(trio.BrokenResourceError):
            await _outwait_deadline(server)
        client = await server.connect_h2()
        stalled = await client.send("GET", "/v1/flood")
        reset = await client.wait_for(h2.events.StreamReset, stalled, acknowledge=False)
        assert reset.error_code == ErrorCodes.CANCEL
        assert await client.status("GET", "/v1/health") == 200


async def test_a_cancelled_stream_leaves_no_hole_in_what_its_neighbours_send(
    tmp_path: Path,
) -> None:
    """A response that was about to be written when its stream was reset is written all the same:
    both sides of HTTP/2 count on having seen the same headers."""
    async with serving(address=unix(tmp_path)) as server:
        client = await server.connect_h2()
        client.connection.increment_flow_control_window(2**30)
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        flood = await client.send("GET", "/v1/events/flood")
        await _stall(server)
        quick = await client.send("GET", "/v1/quick")
        await server.streams.reached.wait()
        await wait_all_tasks_blocked()  # its answer waits behind the flood
        client.connection.reset_stream(quick)
        await client.flush()
        await wait_all_tasks_blocked()
        client.connection.reset_stream(flood)
        again = await client.send("GET", "/v1/quick")
        response = await client.wait_for(h2.events.ResponseReceived, again)
        assert dict(response.headers)["x-quick"] == "a header that HPACK will remember"


# --- connections that are over -----------------------------------------------------


async def nothing_sent(stream: trio.SocketStream) -> None:
    """As Crush's client looks whether a server is there (wire contract 10.5)."""


async def half_a_request(stream: trio.SocketStream) -> None:
    await stream.send_all(b"PUT /v1/note HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n{")


async def answered(stream: trio.SocketStream) -> None:
    assert (await request(stream, "GET", "/v1/health")).status == 200


async def streaming(stream: trio.SocketStream) -> None:
    await stream.send_all(EVENTS)
    await read_until(stream, b"first\n\n")


async def streaming_over_http2(stream: trio.SocketStream) -> None:
    client = H2Client(stream)
    await client.wait_for(h2.events.DataReceived, await client.send("GET", "/v1/events"))


@pytest.mark.parametrize(
    "use", [nothing_sent, half_a_request, answered, streaming, streaming_over_http2]
)
async def test_nothing_is_left_of_a_connection_that_its_client_ended(use: Use) -> None:
    """No task waits for the idle time-out, which would keep its file descriptor."""
    async with serving() as server:
        before = await _tasks()
        stream = await server.connect()
        await use(stream)
        await stream.send_eof()
        assert await stream.receive_some() == b""
        while await _tasks() > before:
            pass


async def test_nothing_is_left_of_an_answer_that_nobody_took() -> None:
    """HTTP/2: all of it was said, none of it was sent for want of a window, and the client left."""
    async with serving(settings=attrs.evolve(SETTINGS, send_deadline=600)) as server:
        before = await _tasks()
        client = await server.connect_h2()
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        await client.send("GET", "/v1/quick")
        await server.streams.reached.wait()
        await wait_all_tasks_blocked()
        await client.stream.aclose()
        while await _tasks() > before:
            pass


async def test_an_idle_http2_connection_is_told_goodbye() -> None:
    """Also one whose last stream was reset by its client, which must not look busy for ever."""
    settings = attrs.evolve(SETTINGS, keep_alive_timeout=0.5)
    async with serving(settings=settings) as server:
        client = await server.connect_h2()
        events = await client.send("GET", "/v1/events")
        await client.wait_for(h2.events.DataReceived, events)
        client.connection.reset_stream(events)
        await client.flush()
        assert await client.wait_for(h2.events.ConnectionTerminated)
        assert await client.wait_for(h2.events.DataReceived) is None


async def test_an_answer_is_heard_although_the_request_is_still_being_sent() -> None:
    """Closing at once would reset the connection, and the client would lose the reason."""
    settings = attrs.evolve(SETTINGS, body_bytes=2**20)
    async with serving(settings=settings) as server:
        reply = await server.request("PUT", "/v1/note", body=b"x" * 8 * 2**20)
        assert reply.status == 413
        assert reply.json == {"message": "request body is larger than 1 MiB"}


def _awaiting_reply() -> h11.Connection:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "t")]))
    connection.send(h11.EndOfMessage())
    return connection


async def _tasks() -> int:
    """Return how many there are, once all of them wait."""
    await wait_all_tasks_blocked(0.01)
    return trio.lowlevel.current_statistics().tasks_living


async def _stall(server: Server) -> None:
    """Wait until the floods have filled everything between them and readers that do not read."""
    produced = -1
    while produced != server.streams.produced or not produced:
        produced = server.streams.produced
        for _ in range(5):
            await assert_serves(server)


async def _outwait_deadline(server: Server) -> None:
    """Ask for an endless answer, do not read it, and come back when the server has given up."""
    async with await server.connect() as stream:
        await stream.send_all(b"GET /v1/flood HTTP/1.1\r\nHost: t\r\n\r\n")
        while True:  # what is sent here is never read either
            await stream.send_all(b"x" * 2**16)
