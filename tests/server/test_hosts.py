"""Hosts that are no domain names, which a client of a unix socket may well send."""

from __future__ import annotations

import pytest

from serving_kit import read_until, serving


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    "host",
    [
        "api.crush.localhost",
        "x" * 64,
        "a..b",
        "a" * 300 + ".b",
        "\xe9",
        ":",
        "[::1",
        "",
        "_",
        "t:x",
    ],
)
async def test_any_host_is_answered(host: str) -> None:
    """The framework's own answer would be 500 to some of these, and a traceback in the log."""
    async with serving() as server:
        stream = await server.connect()
        await stream.send_all(f"GET /v1/health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        assert (await read_until(stream, b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
