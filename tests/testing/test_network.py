"""Faults strike where they are told to, and both ends learn what they would learn of a socket."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from crush_trio.testing.faults import (
    Cut,
    Fault,
    HalfClose,
    Latency,
    Refused,
    Reset,
    ServerStop,
    SlowReader,
    StalledReader,
    drawn,
)
from crush_trio.testing.network import Connection, Network, open_network
from crush_trio.testing.streams import MemoryStream, ServerStream


@attrs.frozen
class Line:
    """A connection whose ends the test holds."""

    network: Network
    connection: Connection
    client: MemoryStream
    server: ServerStream


@asynccontextmanager
async def line(*faults: Fault, capacity: int = 100) -> AsyncGenerator[Line]:
    with trio.fail_after(20):
        async with open_network() as network, network.listen() as listener:
            network.capacity = capacity
            network.next(*faults)
            client = await network.connect()
            server = await listener.accept()
            yield Line(network, network.connections[0], client, server)


async def read_all(stream: MemoryStream) -> bytes:
    data = b""
    while piece := await stream.receive_some():
        data += piece
    return data


async def test_a_reader_that_does_not_read_blocks_its_writer(autojump_clock: MockClock) -> None:
    """No more than the capacity is on its way; a read makes room."""
    async with line() as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.server.send_all, bytes(150))
        await wait_all_tasks_blocked()
        assert it.connection.answers.held == 100
        assert len(await it.client.receive_some(30)) == 30
        await wait_all_tasks_blocked()
        assert it.connection.answers.held == 100
        assert len(await it.client.receive_some(100)) == 100
        assert len(await it.client.receive_some(100)) == 20


async def test_latency_delays_both_directions_and_the_connection(
    autojump_clock: MockClock,
) -> None:
    """And the end of the bytes; what was sent together arrives together."""
    start = trio.current_time()
    async with line(Latency(2.0)) as it:
        assert trio.current_time() == start + 2
        await it.client.send_all(b"hello")
        assert await it.server.receive_some() == b"hello"
        assert trio.current_time() == start + 4
        await it.server.send_all(b"a")
        await it.server.send_all(b"b")
        await it.server.send_eof()
        assert await read_all(it.client) == b"ab"
        assert trio.current_time() == start + 6


async def test_a_slow_reader_takes_its_rate(autojump_clock: MockClock) -> None:
    """So many bytes a second, and the writer waits for it."""
    async with line(SlowReader(50)) as it, trio.open_nursery() as nursery:
        start = trio.current_time()
        nursery.start_soon(it.server.send_all, bytes(500))
        got = 0
        while got < 500:
            got += len(await it.client.receive_some())
        assert trio.current_time() - start == pytest.approx(10, abs=0.2)


async def test_a_stalled_reader_stops_where_it_was_told_to(autojump_clock: MockClock) -> None:
    """It reads so many bytes and no more, not even the end, until it is resumed."""
    async with line(StalledReader(after=3)) as it, trio.open_nursery() as nursery:
        await it.server.send_all(b"hello")
        await it.server.send_eof()
        assert await it.client.receive_some() == b"hel"
        with trio.move_on_after(5) as waiting:
            await it.client.receive_some()
        assert waiting.cancelled_caught
        nursery.start_soon(trio.sleep, 10)
        it.connection.resume()
        assert await read_all(it.client) == b"lo"


async def test_a_stall_begins_at_once_from_outside(autojump_clock: MockClock) -> None:
    """Also while the reader already waits."""
    async with line() as it, trio.open_nursery() as nursery:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await it.client.receive_some())

        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        it.connection.stall()
        await it.server.send_all(b"x")
        await trio.sleep(5)
        assert got == []
        it.connection.resume()
    assert got == [b"x"]


@pytest.mark.parametrize("latency", [0.0, 1.0])
async def test_a_cut_lets_exactly_so_many_bytes_through(
    autojump_clock: MockClock, latency: float
) -> None:
    """In the middle of a write; then both ends find the connection broken."""
    async with line(Cut(after=7), *([Latency(latency)] if latency else [])) as it:
        await it.server.send_all(b"hello")
        with pytest.raises(trio.BrokenResourceError):
            await it.server.send_all(b" world")
        with pytest.raises(trio.BrokenResourceError):
            await it.client.send_all(b"x")
        assert await it.client.receive_some() == b"hello w"
        with pytest.raises(trio.BrokenResourceError):
            await it.client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await it.server.receive_some()


async def test_a_request_can_be_cut_too(autojump_clock: MockClock) -> None:
    """At no bytes: nothing of it arrives."""
    async with line(Cut(after=0, of="requests")) as it:
        with pytest.raises(trio.BrokenResourceError):
            await it.client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await it.server.receive_some()


async def test_a_reset_loses_what_is_on_its_way(autojump_clock: MockClock) -> None:
    """At its time; what has arrived can still be read."""
    async with line(Latency(1.0), Reset(after=2.5)) as it:
        start = trio.current_time()
        await it.server.send_all(b"arrives")
        await trio.sleep(2)
        await it.server.send_all(b"does not")
        await trio.sleep(1)
        assert await it.client.receive_some() == b"arrives"
        with pytest.raises(trio.BrokenResourceError):
            await it.client.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await it.server.send_all(b"x")
        happened = [each for each in it.network.trace.passed if each.what == "!"]
        assert (happened[-1].time - start, happened[-1].data) == (2.5, b"reset")


async def test_a_half_closed_client_still_hears(autojump_clock: MockClock) -> None:
    """The server sees the end of the requests; its answer arrives."""
    async with line(HalfClose(after=4)) as it:
        with pytest.raises(trio.BrokenResourceError):
            await it.client.send_all(b"hello")
        assert await read_all(it.server) == b"hell"
        await it.server.send_all(b"answer")
        assert await it.client.receive_some() == b"answer"


async def test_a_server_stop_is_told_at_its_byte(autojump_clock: MockClock) -> None:
    """The bytes go on: it is the server that stops, in its own time."""
    async with line(ServerStop(after=3)) as it:
        told: list[int] = []
        it.network.stop_server = lambda: told.append(it.connection.answers.sent)
        await it.server.send_all(b"hello")
        assert told == [3]
        assert await it.client.receive_some() == b"hello"


async def test_a_client_that_hangs_up_resets_what_it_has_not_read(
    autojump_clock: MockClock,
) -> None:
    """As the death of a process does; with nothing unread the server sees a plain end."""
    async with line() as it:
        await it.client.send_all(b"x")
        it.connection.hang_up()
        assert await read_all(it.server) == b"x"
    async with line() as it:
        await it.server.send_all(b"unread")
        it.connection.hang_up()
        with pytest.raises(trio.BrokenResourceError):
            await it.server.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await it.client.receive_some()


async def test_nobody_answers_where_nobody_listens(autojump_clock: MockClock) -> None:
    """By a fault, and once the listener is closed, which also ends what was not accepted."""
    async with open_network() as network:
        async with network.listen():
            network.next(Refused())
            with pytest.raises(ConnectionRefusedError):
                await network.connect()
            client = await network.connect()
        assert await client.receive_some() == b""
        with pytest.raises(ConnectionRefusedError):
            await network.connect()


async def test_each_script_is_for_one_connection(autojump_clock: MockClock) -> None:
    """In order; what no script names gets what is drawn, which is nothing by default."""
    async with open_network() as network, network.listen():
        network.next(StalledReader())
        network.next()
        network.draw = lambda: (SlowReader(5),)
        for _ in range(3):
            await network.connect()
        seen = [(each.answers.appetite, each.answers.rate) for each in network.connections]
    assert seen == [(0, float("inf")), (float("inf"), float("inf")), (float("inf"), 5)]


def test_drawn_faults_depend_on_the_seed_alone() -> None:
    """And on the chance: none of it leaves every connection as it is."""
    storm = [drawn(random.Random(seed), 0.5) for seed in range(200)]
    assert storm == [drawn(random.Random(seed), 0.5) for seed in range(200)]
    kinds = {type(each) for faults in storm for each in faults}
    assert kinds == {Refused, Latency, SlowReader, StalledReader, HalfClose, Cut, Reset}
    assert not any(drawn(random.Random(seed), 0.0) for seed in range(20))
