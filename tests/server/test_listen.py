"""The life of a server: ready, stopping in two phases, over."""

from __future__ import annotations

from pathlib import Path

import attrs
import h2.events
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from crush_trio.addresses import Address
from crush_trio.errors import AddressInUseError
from serving_kit import SETTINGS, Streams, make_app, read_until, request, serving


async def test_nobody_new_gets_in_once_the_server_stops() -> None:
    """The listener is closed before runs are settled; open connections are still answered."""
    settling, settled = trio.Event(), trio.Event()

    async def shutdown() -> None:
        settling.set()
        await settled.wait()

    async with serving(shutdown=shutdown) as server:
        stream = await server.connect()
        assert (await request(stream, "GET", "/v1/health")).headers.get("connection") is None
        server.stop.set()
        await settling.wait()
        with pytest.raises(OSError, match="all attempts"):
            await server.connect()
        reply = await request(stream, "GET", "/v1/health")
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        settled.set()
        await server.ended.wait()


async def test_answers_carry_their_date() -> None:
    """Only a simulated server leaves it out; see ``Ground``."""
    async with serving() as server:
        assert (await server.request("GET", "/v1/health")).headers["date"].endswith(" GMT")


@pytest.mark.promise("S6")
async def test_a_request_that_the_first_phase_settles_is_answered() -> None:
    """What waits for a run is answered when the run is settled, and only then is anything cut."""
    streams = Streams()
    app = make_app(streams)

    @app.post("/v1/prompt")
    async def prompt() -> str:
        streams.reached.set()
        await streams.closing.wait()
        return "settled"

    async with serving(app, streams=streams) as server, trio.open_nursery() as nursery:

        async def stop() -> None:
            await streams.reached.wait()
            server.stop.set()

        nursery.start_soon(stop)
        assert (await server.request("POST", "/v1/prompt")).body == b"settled"


async def test_a_request_that_never_ends_is_cut_after_the_drain() -> None:
    """Whatever a handler does, the server ends."""
    async with serving(settings=attrs.evolve(SETTINGS, drain_timeout=0.1)) as server:
        stream = await server.connect()
        await stream.send_all(b"GET /v1/never HTTP/1.1\r\nHost: t\r\n\r\n")
        client = await server.connect_h2()
        await client.send("GET", "/v1/never")
        assert await client.status("GET", "/v1/health") == 200  # so the others have arrived
        server.stop.set()
        await server.ended.wait()
        await read_until(stream, b"")
        assert await client.wait_for(h2.events.DataReceived) is None


async def test_a_cancelled_server_ends_at_once_with_readers_stalled(tmp_path: Path) -> None:
    """Shielded writes do not hold up a cancel from outside."""
    settings = attrs.evolve(SETTINGS, send_deadline=600, drain_timeout=600)
    address = Address("unix", path=str(tmp_path / "server.sock"))  # full when it is full
    streams, readers = Streams(), list[trio.SocketStream]()
    with trio.CancelScope() as scope:
        async with serving(streams=streams, settings=settings, address=address) as server:
            for path in (b"/v1/flood", b"/v1/events/flood"):
                reader = await server.connect()
                server.clients.remove(reader)  # it stays when the server goes
                readers.append(reader)
                await reader.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: t\r\n\r\n")
                await reader.receive_some()
            await wait_all_tasks_blocked()
            scope.cancel("from outside")
    assert scope.cancelled_caught
    assert streams.open == 0
    for reader in readers:
        await reader.aclose()


async def test_an_error_of_the_first_phase_ends_the_server() -> None:
    """It is raised, and does not leave the server half stopped."""

    async def shutdown() -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("cannot settle")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError), flatten_subgroups=True):
        async with serving(shutdown=shutdown) as server:
            stream = await server.connect()
            await stream.send_all(b"GET /v1/events HTTP/1.1\r\nHost: t\r\n\r\n")
            await stream.receive_some()


async def test_an_address_that_is_taken_is_an_error_at_the_start() -> None:
    """The caller of ``nursery.start`` gets it."""
    async with serving() as server:
        with pytest.RaisesGroup(pytest.RaisesExc(AddressInUseError), flatten_subgroups=True):
            async with serving(address=server.address):
                pass
        assert await server.status() == 200


async def test_hooks_of_the_application_run_around_the_service() -> None:
    """Its start-up before the first request, its shut-down after the last."""
    streams, calls = Streams(), list[str]()
    app = make_app(streams)

    @app.before_serving
    async def begin() -> None:
        await trio.lowlevel.checkpoint()
        calls.append("begin")

    @app.after_serving
    async def end() -> None:
        await trio.lowlevel.checkpoint()
        calls.append("end")

    async with serving(app, streams=streams) as server:
        assert calls == ["begin"]
        assert await server.status() == 200
    assert calls == ["begin", "end"]
