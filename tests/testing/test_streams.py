"""Simulated connections behave as Trio's own streams do, and block, break and delay as told."""

from __future__ import annotations

import trio
from trio.testing import check_half_closeable_stream, check_two_way_stream

from crush_trio.testing.pipes import Pipe
from crush_trio.testing.streams import MemoryStream


async def make() -> tuple[MemoryStream, MemoryStream]:
    forth, back = Pipe(), Pipe()
    return MemoryStream(back, forth), MemoryStream(forth, back)


async def make_clogged() -> tuple[MemoryStream, MemoryStream]:
    forth, back = Pipe(capacity=10), Pipe(capacity=10)
    ours, theirs = MemoryStream(back, forth), MemoryStream(forth, back)
    await ours.send_all(bytes(10))
    await theirs.send_all(bytes(10))
    return ours, theirs


async def test_the_streams_keep_trios_rules() -> None:
    """Those of two-way and of half-closeable streams, also with no room left."""
    with trio.fail_after(20):
        await check_two_way_stream(make, make_clogged)
        await check_half_closeable_stream(make, make_clogged)
