"""Answers and errors, byte for byte where clients look (wire contract 1.3, 2.3, 2.4)."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest
import trio

from crush_trio.errors import ConflictError, WorkspaceNotFoundError
from crush_trio.server.problems import answer
from serving_kit import SETTINGS, Reply, Streams, make_app, read_until, serving


def outcome(reply: Reply) -> tuple[int, str | None, bytes]:
    return reply.status, reply.headers.get("content-type"), reply.body


async def test_a_value_is_answered_as_one_line_of_json() -> None:
    """With its length."""
    async with serving() as server:
        reply = await server.request("PUT", "/v1/note", body=b'{"text":"caf\xc3\xa9"}')
    assert outcome(reply) == (200, "application/json", '{"text":"café"}\n'.encode())
    assert reply.headers["content-length"] == "17"


async def test_an_empty_answer_has_no_content_type() -> None:
    """But a length of 0."""
    async with serving() as server:
        reply = await server.request("GET", "/v1/health")
    assert outcome(reply) == (200, None, b"")
    assert reply.headers["content-length"] == "0"


@pytest.mark.promise("C4")
async def test_an_unknown_path_is_404() -> None:
    """A trailing slash makes one unknown. Not JSON: no client may take it for a lost workspace."""
    async with serving() as server:
        for path in ("/", "/v1", "/v1/healthy", "/v1/health/", "/v1/echo/", "/v2/health"):
            reply = await server.request("GET", path)
            assert outcome(reply) == (404, "text/plain; charset=utf-8", b"404 page not found\n")
            assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.promise("C4")
async def test_a_wrong_method_is_405() -> None:
    """The right ones are listed in order."""
    async with serving() as server:
        for method, path, allowed in (
            ("POST", "/v1/health", "GET, HEAD"),
            ("OPTIONS", "/v1/health", "GET, HEAD"),
            ("TRACE", "/v1/health", "GET, HEAD"),
            ("PATCH", "/v1/note", "DELETE, GET, HEAD, PUT"),
            ("GET", "/v1/echo/x", "POST"),
        ):
            reply = await server.request(method, path)
            assert outcome(reply) == (405, "text/plain; charset=utf-8", b"Method Not Allowed\n")
            assert reply.headers["allow"] == allowed
            assert reply.headers["x-content-type-options"] == "nosniff"


async def test_what_can_be_got_can_be_asked_for_its_head() -> None:
    """Same status and type, no body."""
    async with serving() as server:
        reply = await server.request("HEAD", "/v1/bug")
        assert outcome(reply) == (500, "application/json", b"")
        assert outcome(await server.request("HEAD", "/v1/health")) == (200, None, b"")


@pytest.mark.promise("C4")
async def test_our_errors_carry_their_status_and_message() -> None:
    """Also out of a nursery, which wraps them in a group."""
    streams = Streams()
    app = make_app(streams)

    @app.get("/v1/missing")
    async def missing() -> Any:
        await trio.lowlevel.checkpoint()
        raise WorkspaceNotFoundError

    @app.get("/v1/grouped")
    async def grouped() -> Any:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("of a nursery", [ConflictError("workspace closing")])

    async with serving(app, streams=streams) as server:
        missed = outcome(await server.request("GET", "/v1/missing"))
        assert missed == (404, "application/json", b'{"message":"workspace not found"}\n')
        closing = outcome(await server.request("GET", "/v1/grouped"))
        assert closing == (409, "application/json", b'{"message":"workspace closing"}\n')


@pytest.mark.promise("C3")
@pytest.mark.promise("A2")
async def test_a_bug_is_500_and_is_told_to_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    """The client learns nothing of it, the log everything."""
    async with serving() as server:
        reply = await server.request("GET", "/v1/bug?key=secret")
        assert await server.status() == 200
    assert outcome(reply) == (500, "application/json", b'{"message":"internal server error"}\n')
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "error while answering GET /v1/bug"
    assert record.exc_info is not None
    assert "secret detail" in str(record.exc_info[1])


async def test_an_error_after_the_client_has_left_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The framework alone would drop it without a word."""
    streams = Streams()
    app = make_app(streams)
    raised = trio.Event()

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raised.set()
            raise RuntimeError("while leaving")

    @app.get("/v1/leaving")
    async def leaving() -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            streams.reached.set()

    async with serving(app, streams=streams) as server:
        stream = await server.connect()
        await stream.send_all(b"GET /v1/leaving HTTP/1.1\r\nHost: t\r\n\r\n")
        await streams.reached.wait()
        await stream.aclose()
        await raised.wait()
    assert "error while answering GET /v1/leaving" in [each.getMessage() for each in caplog.records]


@pytest.mark.promise("C4")
async def test_a_body_that_is_announced_as_too_large_is_413() -> None:
    """Before any of it is read."""
    async with serving() as server, await server.connect() as stream:
        await stream.send_all(
            b"PUT /v1/note HTTP/1.1\r\nHost: t\r\nContent-Length: 67108865\r\n\r\n"
        )
        reply = await read_until(stream, b"}\n")
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert reply.endswith(b'{"message":"request body is larger than 64 MiB"}\n')


@pytest.mark.promise("C4")
async def test_a_body_that_turns_out_too_large_is_413() -> None:
    """In chunks, no length is announced."""
    settings = attrs.evolve(SETTINGS, body_bytes=1000)
    async with serving(settings=settings) as server, await server.connect() as stream:
        await stream.send_all(
            b"PUT /v1/note HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3e8\r\n" + b" " * 1000 + b"\r\n1\r\n \r\n"
        )
        assert (await read_until(stream, b"}\n")).startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_does_not_come_is_408() -> None:
    """The connection is not kept for ever."""
    settings = attrs.evolve(SETTINGS, body_timeout=0.05)
    async with serving(settings=settings) as server, await server.connect() as stream:
        await stream.send_all(b"PUT /v1/note HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n{")
        reply = await read_until(stream, b"}\n")
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert reply.endswith(b'{"message":"request body did not arrive within 0.05 s"}\n')


def test_values_are_encoded_at_once() -> None:
    """An answer does not change with what it was made of."""
    value = {"a": 1}
    response = answer(value, 202)
    value["a"] = 2
    assert response.status_code == 202
