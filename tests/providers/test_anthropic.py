"""The Anthropic provider against recorded bytes on a real socket."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import pytest
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.anthropic import open_anthropic_provider
from crush_trio.providers.base import (
    Delta,
    ModelMessage,
    ModelOptions,
    ModelRequest,
    ReasoningDelta,
    ReasoningEnd,
    StreamEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from wire_kit import ASK, HEAD, Answer, check_cancel_is_seen, cut, heard, open_wire, response

KEY = "sk-ant-very-secret-1"

BEGIN = b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":3,"cache_read_input_tokens":40,"output_tokens":1}}}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
THINKING = b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIM"}}\n\nevent: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
TEXT = b'event: content_block_start\ndata: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hello"}}\n\nevent: content_block_stop\ndata: {"type":"content_block_stop","index":1}\n\n'
CALL = b'event: content_block_start\ndata: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"ls","input":{}}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"path\\": \\"/\\"}"}}\n\nevent: content_block_stop\ndata: {"type":"content_block_stop","index":2}\n\n'
OVER = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"%s","stop_sequence":null},"usage":{"output_tokens":7}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
DONE = OVER % b"end_turn"
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}\n\n'

USAGE = Usage(input=12, output=7, cache_creation=3, cache_read=40)
WHOLE = [TextDelta("hello"), USAGE, StreamEnd("end_turn")]


def fault(kind: str, message: str) -> bytes:
    error = {"type": kind, "message": message}
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


async def heard_at(
    base_url: str, api_key: str = KEY, request: ModelRequest = ASK, **options: Any
) -> list[Delta]:
    options = {"name": "anthropic", "base_url": base_url, "api_key": api_key} | options
    async with open_anthropic_provider(**options) as provider:
        return await heard(provider, request)


async def test_a_request_is_what_was_configured() -> None:
    """Path, key, version, own headers, session key and extra fields."""
    async with open_wire(response(BEGIN + TEXT + DONE)) as server:
        request = ModelRequest("m", ASK.messages, session_key="0123456789abcdef")
        deltas = await heard_at(
            server.base_url,
            request=request,
            headers={"X-Team": "platform"},
            extra_body={"metadata": {"user_id": "u"}},
        )
    assert deltas == WHOLE
    head, body = server.requests[0]
    assert head.startswith("post /v1/messages http/1.1")
    for line in (
        f"x-api-key: {KEY}",
        "anthropic-version: 2023-06-01",
        "x-team: platform",
        "x-session-id: 0123456789abcdef",
        "x-session-affinity: 0123456789abcdef",
        "content-type: application/json",
        "x-stainless-retry-count: 0",
    ):
        assert f"\r\n{line}\r\n" in f"{head}\r\n"
    assert "\r\nuser-agent: crush-trio/" in head
    assert "authorization" not in head
    assert "anthropic-beta" not in head
    sent = json.loads(body)
    assert (sent["metadata"], sent["stream"]) == ({"user_id": "u"}, True)
    assert sent["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("name", "api_key", "line"),
    [
        ("anthropic", "Bearer tok-en-12345", "authorization: bearer tok-en-12345"),
        ("minimax", KEY, f"authorization: bearer {KEY}"),
        ("minimax-china", KEY, f"authorization: bearer {KEY}"),
    ],
)
async def test_some_want_the_key_as_a_bearer_token(name: str, api_key: str, line: str) -> None:
    """Agent contract 1.12."""
    async with open_wire(response(BEGIN + DONE)) as server:
        await heard_at(server.base_url, api_key, name=name)
    assert f"\r\n{line}\r\n" in server.requests[0][0] + "\r\n"
    assert "x-api-key" not in server.requests[0][0]


async def test_without_a_key_no_credentials_are_sent() -> None:
    """Whatever the environment or the disk holds is not for this address."""
    async with open_wire(response(BEGIN + DONE)) as server:
        await heard_at(server.base_url, api_key="")
    assert "authorization" not in server.requests[0][0]
    assert "x-api-key" not in server.requests[0][0]


@pytest.mark.parametrize(
    ("configured", "sent"),
    [
        ("", "interleaved-thinking-2025-05-14"),
        ("other-1", "other-1,interleaved-thinking-2025-05-14"),
    ],
)
async def test_a_model_that_is_to_think_may_do_so_between_calls(configured: str, sent: str) -> None:
    """The beta is added to those that are configured."""
    thinking = ModelOptions(extra_body={"thinking": {"budget_tokens": 2000}})
    headers = {"Anthropic-Beta": configured} if configured else {}
    async with open_wire(response(BEGIN + DONE)) as server:
        request = ModelRequest("m", ASK.messages, options=thinking)
        await heard_at(server.base_url, request=request, headers=headers)
    assert f"\r\nanthropic-beta: {sent}\r\n" in server.requests[0][0] + "\r\n"


async def test_an_answer_with_everything() -> None:
    """Reasoning with its signature, text, a call, and its tokens."""
    events = BEGIN + PING + THINKING + TEXT + CALL + OVER % b"tool_use"
    async with open_wire(response(events)) as server:
        assert await heard_at(server.base_url) == [
            ReasoningDelta("hm"),
            ReasoningEnd("EqQBCgIYAhIM"),
            TextDelta("hello"),
            ToolCallStart("toolu_1", "ls"),
            ToolCallArgs("toolu_1", '{"path": "/"}'),
            ToolCallEnd("toolu_1", "ls", '{"path": "/"}'),
            USAGE,
            StreamEnd("tool_use"),
        ]


@pytest.mark.promise("R7")
@pytest.mark.parametrize(
    ("status", "kind", "more", "title", "retryable", "wish"),
    [
        ("401 Unauthorized", "authentication_error", "", "Unauthorized", False, None),
        ("400 Bad Request", "invalid_request_error", "", "Bad Request", False, None),
        ("429 X", "rate_limit_error", "retry-after: 3\r\n", "Too Many Requests", True, 3.0),
        ("500 X", "api_error", "", "Internal Server Error", True, None),
        ("529 X", "overloaded_error", "", "Provider Error", True, None),
    ],
)
async def test_a_status_is_an_error_with_its_reason(
    status: str, kind: str, more: str, title: str, retryable: bool, wish: float | None
) -> None:
    """Title, message, and the advice on retries (wire contract 6.6)."""
    answer = response(fault(kind, "this went wrong"), status, "application/json", more)
    async with open_wire(answer) as server:
        with pytest.raises(ProviderError) as caught:
            await heard_at(server.base_url)
    error = caught.value
    assert (error.title, str(error)) == (title, "this went wrong")
    assert (error.http_status, error.retryable) == (int(status[:3]), retryable)
    assert error.retry_after == wish
    assert len(server.requests) == 1


@pytest.mark.promise("R10")
@pytest.mark.parametrize(
    ("failing", "title", "message"),
    [
        (OVERLOADED, "Stream Error", "Overloaded"),
        (b"", "Stream transport error", "the connection to"),
    ],
    ids=["error", "cut"],
)
async def test_a_failure_in_the_middle_comes_after_what_was_said(
    failing: bytes, title: str, message: str
) -> None:
    """Both kinds may be tried again."""

    async def failing_answer(stream: trio.SocketStream) -> None:
        head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
        events = BEGIN + TEXT + failing
        await stream.send_all(head + b"%x\r\n%s\r\n" % (len(events), events))
        await stream.aclose()

    said: list[Delta] = []
    async with open_wire(failing_answer) as server:
        async with open_anthropic_provider(name="p", base_url=server.base_url) as provider:

            async def listen() -> None:
                async with provider.stream(ASK) as deltas:
                    async for delta in deltas:
                        said.append(delta)  # noqa: PERF401 -- what came before the error counts

            with pytest.raises(ProviderError, match=message) as caught:
                await listen()
    assert said == [TextDelta("hello")]
    assert (caught.value.title, caught.value.retryable) == (title, True)


async def test_a_connection_is_used_again_after_a_complete_answer() -> None:
    """A new TLS connection for every step would cost a person's time."""
    answers = [response(BEGIN + TEXT + DONE)] * 3
    async with open_wire(*answers) as server:
        async with open_anthropic_provider(name="p", base_url=server.base_url) as provider:
            for _ in range(3):
                assert await heard(provider) == WHOLE
    assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.promise("R11")
async def test_a_cancel_is_seen_by_the_server_at_once() -> None:
    """The connection ends, and none is left behind in the client."""
    await check_cancel_is_seen(
        lambda url: open_anthropic_provider(name="p", base_url=url), BEGIN + TEXT
    )


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    "answer",
    [
        response(fault("x", f"wrong key {KEY}"), "401 No", "application/json"),
        response(b"event: error\ndata: " + fault("x", f"wrong {KEY}") + b"\n\n"),
        response(b"", "204 No", KEY),
        cut,
    ],
    ids=["status", "stream", "content type", "connection"],
)
async def test_no_key_is_in_an_error_or_in_a_log(
    answer: bytes | Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when the server quotes it, and whatever is written of the error's history."""
    caplog.set_level(logging.INFO)
    async with open_wire(answer) as server:
        with pytest.raises(ProviderError) as caught:
            await heard_at(server.base_url)
    assert f"x-api-key: {KEY}" in server.requests[0][0]
    error = caught.value
    written = "".join(traceback.format_exception(error))
    for text in (str(error), repr(error), error.title, written, caplog.text):
        assert KEY not in text


@pytest.mark.promise("A2")
async def test_no_key_is_in_the_most_detailed_log(caplog: pytest.LogCaptureFixture) -> None:
    """Of an ordinary request, by whatever library."""
    caplog.set_level(logging.DEBUG)
    async with open_wire(response(BEGIN + DONE), response(BEGIN + DONE)) as server:
        await heard_at(server.base_url, headers={"X-Other-Key": "other-very-secret-2"})
        await heard_at(server.base_url, f"Bearer {KEY}")
    assert "other-very-secret-2" in server.requests[0][0]
    for secret in (KEY, "other-very-secret-2"):
        assert secret not in caplog.text
    assert "/v1/messages" in caplog.text


async def test_the_address_may_end_with_the_version() -> None:
    """People write it either way."""
    async with open_wire(response(BEGIN + DONE), response(BEGIN + DONE)) as server:
        await heard_at(server.base_url)
        await heard_at(server.base_url.removesuffix("/v1") + "/")
    assert [head.split()[1] for head, _ in server.requests] == ["/v1/messages"] * 2


async def test_what_was_thought_goes_back_in_the_next_request() -> None:
    """With its signature, so that the model can go on from it."""
    async with open_wire(response(BEGIN + THINKING + TEXT + DONE), response(DONE)) as server:
        async with open_anthropic_provider(name="p", base_url=server.base_url) as provider:
            deltas = await heard(provider)
            signature = next(d.signature for d in deltas if isinstance(d, ReasoningEnd))
            said = ModelMessage("assistant", "hello", reasoning="hm", reasoning_signature=signature)
            await heard(provider, ModelRequest("m", [*ASK.messages, said, *ASK.messages]))
    thought = json.loads(server.requests[1][1])["messages"][1]["content"][0]
    assert thought == {"type": "thinking", "thinking": "hm", "signature": "EqQBCgIYAhIM"}
