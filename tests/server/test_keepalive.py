"""A connection that has been used is idle afterwards, and closes like any other."""

from __future__ import annotations

import attrs
import trio

from serving_kit import SETTINGS, request, serving


async def test_a_used_connection_is_closed_when_it_has_been_idle() -> None:
    """Its idle timer starts again after each answer."""
    settings = attrs.evolve(SETTINGS, keep_alive_timeout=0.5)
    async with serving(settings=settings) as server:
        stream = await server.connect()
        for _ in range(2):
            assert (await request(stream, "GET", "/v1/health")).status == 200
        started = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - started >= 0.45


async def test_a_used_connection_does_not_hold_up_the_end() -> None:
    """Idle connections close as soon as the server has settled its runs."""
    async with serving(settings=attrs.evolve(SETTINGS, drain_timeout=600)) as server:
        for _ in range(3):
            assert (await request(await server.connect(), "GET", "/v1/health")).status == 200
        server.stop.set()
        await server.ended.wait()
