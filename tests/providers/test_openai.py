"""The OpenAI-compatible provider against bytes on a real socket.

What it has in common with its twin is in ``test_provider_contract``.
"""

from __future__ import annotations

import json
import logging
import traceback
from functools import partial

import pytest
import trio

from crush_trio.errors import ConfigError, ProviderError
from crush_trio.providers.base import (
    Delta,
    ModelMessage,
    ModelRequest,
    StreamEnd,
    TextDelta,
)
from crush_trio.providers.openai import open_openai_provider
from limits_kit import REAL_LIMIT
from wire_kit import ASK, HEAD, Answer, check_cancel_is_seen, cut, heard, open_wire, response

KEY = "sk-very-secret-1"

TEXT = b'data: {"choices": [{"delta": {"content": "hello"}}]}\n\n'
STOP = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = [TextDelta("hello"), StreamEnd("end_turn")]


async def heard_at(base_url: str, api_key: str = KEY) -> list[Delta]:
    async with open_openai_provider(name="p", base_url=base_url, api_key=api_key) as provider:
        return await heard(provider)


async def test_a_request_is_what_was_configured() -> None:
    """Path, key, own headers, session key and extra fields."""
    async with open_wire(response(TEXT + STOP + DONE)) as server:
        async with open_openai_provider(
            name="p",
            base_url=server.base_url + "/",
            api_key=KEY,
            headers={"X-Team": "platform"},
            extra_body={"tool_stream": True},
        ) as provider:
            request = ModelRequest("m", ASK.messages, session_key="0123456789abcdef")
            assert await heard(provider, request) == WHOLE
    head, body = server.requests[0]
    assert head.startswith("post /v1/chat/completions http/1.1")
    for line in (
        f"authorization: bearer {KEY}",
        "x-team: platform",
        "x-session-id: 0123456789abcdef",
        "x-session-affinity: 0123456789abcdef",
        "content-type: application/json",
        "x-stainless-retry-count: 0",
    ):
        assert f"\r\n{line}\r\n" in f"{head}\r\n"
    assert "\r\nuser-agent: crush-trio/" in head
    assert json.loads(body)["tool_stream"] is True


async def test_without_a_key_no_credentials_are_sent() -> None:
    """A local server needs none, and whatever the environment holds is not for it."""
    async with open_wire(response(STOP)) as server:
        await heard_at(server.base_url, api_key="")
    assert "authorization" not in server.requests[0][0]


async def test_a_connection_is_used_again_after_a_complete_answer() -> None:
    """Also when the end of the body comes a moment after the end of the answer."""
    body = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    events = TEXT + STOP + DONE
    body += b"%x\r\n%s\r\n" % (len(events), events)

    async def in_two_parts(stream: trio.SocketStream) -> None:
        await stream.send_all(body)
        await trio.lowlevel.checkpoint()
        await stream.send_all(b"0\r\n\r\n")

    async with open_wire(in_two_parts, in_two_parts, response(STOP)) as server:
        async with open_openai_provider(name="p", base_url=server.base_url) as provider:
            for _ in range(3):
                await heard(provider)
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_an_answer_is_complete_without_the_end_of_its_body() -> None:
    """A server that keeps the connection open after ``[DONE]`` holds nobody up."""
    async with open_wire(HEAD + b"\r\n" + TEXT + STOP + DONE) as server:
        assert await heard_at(server.base_url) == WHOLE
        await server.ended.wait()


async def test_an_answer_may_end_with_its_connection() -> None:
    """Without ``[DONE]``, as some servers do it."""

    async def short(stream: trio.SocketStream) -> None:
        await stream.send_all(HEAD + b"\r\n" + TEXT + STOP)
        await stream.aclose()

    async with open_wire(short) as server:
        assert await heard_at(server.base_url) == WHOLE


async def test_a_refused_connection_names_the_address() -> None:
    """So that a wrong port can be seen."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with trio.fail_after(5):
        with pytest.raises(ProviderError) as caught:
            await heard_at(f"http://127.0.0.1:{port}/v1")
    assert str(caught.value).startswith(f"cannot connect to http://127.0.0.1:{port}/v1: ")
    assert caught.value.text == str(caught.value)
    assert "Connection refused" in caught.value.text
    assert caught.value.retryable


async def test_a_connection_that_ends_without_an_answer_may_be_tried_again() -> None:
    """A server that is being restarted."""
    async with open_wire(cut) as server:
        with pytest.raises(ProviderError, match=f"no answer from {server.base_url}") as caught:
            await heard_at(server.base_url)
    assert caught.value.retryable


async def test_an_answer_that_is_no_stream_is_named() -> None:
    """The usual reason is an address without its ``/v1``; another try would not help."""
    page = response(b"<html>Welcome</html>", kind="text/html")
    async with open_wire(page) as server:
        with pytest.raises(ProviderError, match="answered with 'text/html'") as caught:
            await heard_at(server.base_url)
    assert server.base_url in str(caught.value)
    assert not caught.value.retryable


async def test_a_web_page_as_an_error_is_cut_short() -> None:
    """Some gateways answer with one; nobody reads 100 kB of it."""
    page = response(b"<html>" + b"x" * 100_000, "502 Bad Gateway", "text/html")
    async with open_wire(page) as server:
        with pytest.raises(ProviderError) as caught:
            await heard_at(server.base_url)
    assert caught.value.title == "Bad Gateway"
    assert len(str(caught.value)) < 5000


async def test_settings_that_cannot_work_are_refused_at_once() -> None:
    """Before the first request."""
    with pytest.raises(ConfigError, match="base_url 'nowhere' of provider 'p'"):
        async with open_openai_provider(name="p", base_url="nowhere"):
            raise AssertionError


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    "answer",
    [
        response(b'{"error": {"message": "wrong key %s"}}' % KEY.encode(), "401 No"),
        response(f"wrong: Bearer {KEY}".encode(), "500 No", "text/plain"),
        response(b'data: {"error": {"message": "wrong key %s"}}\n\n' % KEY.encode()),
        response(b"", "204 No", KEY),
        HEAD + b"x-broken\x00" + KEY.encode() + b"\r\n\r\n",
        cut,
    ],
    ids=["status", "text", "stream", "content type", "protocol", "connection"],
)
async def test_no_key_is_in_an_error_or_in_a_log(
    answer: bytes | Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when the server quotes it, and whatever is written of the error's history."""
    caplog.set_level(logging.INFO)
    async with open_wire(answer) as server:
        with pytest.raises(ProviderError) as caught:
            await heard_at(server.base_url)
    assert f"bearer {KEY}" in server.requests[0][0]
    error = caught.value
    written = "".join(traceback.format_exception(error))
    for text in (str(error), repr(error), error.text, error.title, written):
        assert KEY not in text
    assert KEY not in caplog.text


@pytest.mark.promise("A2")
async def test_no_key_is_in_the_most_detailed_log(caplog: pytest.LogCaptureFixture) -> None:
    """Of an ordinary request, by whatever library; credentials in an address are no exception."""
    caplog.set_level(logging.DEBUG)
    async with open_wire(response(STOP), response(STOP)) as server:
        await heard_at(server.base_url)
        await heard_at(server.base_url.replace("//", "//user:pass-word-8@"), api_key="")
    assert "basic dxnlcjpwyxnzlxdvcmqtoa==" in server.requests[1][0]
    for secret in (KEY, "pass-word-8", "dXNlcjpwYXNzLXdvcmQtOA=="):
        assert secret not in caplog.text
    assert "chat/completions" in caplog.text


@pytest.mark.promise("R11")
async def test_a_cancel_while_a_request_is_being_sent_waits_for_nobody() -> None:
    """A server that does not read what it is sent cannot hold up a cancel."""
    reading = trio.Event()

    async def stalled(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        reading.set()
        await trio.sleep_forever()

    big = ModelRequest("m", [ModelMessage("user", "x" * 20_000_000)])
    async with trio.open_nursery() as servers:
        listeners: list[trio.SocketListener] = await servers.start(
            partial(trio.serve_tcp, stalled, 0, host="127.0.0.1")
        )
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        with trio.fail_after(REAL_LIMIT):
            async with open_openai_provider(name="p", base_url=url) as provider:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(heard, provider, big)
                    await reading.wait()
                    start = trio.current_time()
                    nursery.cancel_scope.cancel()
                assert trio.current_time() - start < 5  # it takes no time; to wait takes for ever
        servers.cancel_scope.cancel()


@pytest.mark.promise("R11")
async def test_a_cancel_is_seen_by_the_server_at_once() -> None:
    """The connection ends, and none is left behind in the client."""
    await check_cancel_is_seen(lambda url: open_openai_provider(name="p", base_url=url), TEXT)


async def test_a_flood_does_not_keep_others_from_running() -> None:
    """A server that sends faster than we read: other tasks have their turn between deltas."""
    events = TEXT * 5000 + STOP
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_wire(response(events)) as server:
        async with open_openai_provider(name="p", base_url=server.base_url) as provider:
            async with provider.stream(ASK) as deltas, trio.open_nursery() as nursery:
                nursery.start_soon(count)
                heard = [delta async for delta in deltas]
                nursery.cancel_scope.cancel()
    assert len(heard) == 5001
    assert turns > 100
