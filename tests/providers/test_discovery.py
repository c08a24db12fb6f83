"""Which models an endpoint has, over real sockets (agent contract 3.4)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.discovery import list_models
from crush_trio.wire.config import Model
from limits_kit import REAL_LIMIT


@attrs.define
class Endpoint:
    """A server that gives every request the same answer."""

    url: str
    heads: list[str]


@asynccontextmanager
async def open_endpoint(body: Any, status: str = "200 OK") -> AsyncGenerator[Endpoint]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    endpoint = Endpoint("", [])

    async def answer(stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        endpoint.heads.append(head.decode())
        start = f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        await stream.send_all(start.encode() + data)
        await stream.aclose()

    with trio.fail_after(REAL_LIMIT):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
            listeners: Any = await nursery.start(serve)
            port = listeners[0].socket.getsockname()[1]
            endpoint.url = f"http://127.0.0.1:{port}/v1"
            yield endpoint
            nursery.cancel_scope.cancel()


async def test_an_endpoint_tells_its_models_and_what_it_knows_of_them() -> None:
    """In its own order; each server has its own word for the context window."""
    listing = [
        {"id": "plain", "object": "model", "created": 1, "owned_by": "x"},
        {"id": "vllm", "max_model_len": 32768},
        {"id": "router", "name": "Router", "context_length": 1000, "max_output_tokens": 10},
        {"id": "groq", "context_window": 131072, "max_completion_tokens": 8192},
        {"id": "llama", "meta": {"n_ctx_train": 4096, "n_vocab": 5}},
        {"id": "odd", "context_window": None, "meta": None},
    ]
    async with open_endpoint({"object": "list", "data": listing}) as endpoint:
        found = await list_models("p", f"{endpoint.url}/", "k3y-long", {"X-A": "a"})
    assert found == (
        Model(id="plain", name="plain"),
        Model(id="vllm", name="vllm", context_window=32768),
        Model(id="router", name="Router", context_window=1000, default_max_tokens=10),
        Model(id="groq", name="groq", context_window=131072, default_max_tokens=8192),
        Model(id="llama", name="llama", context_window=4096),
        Model(id="odd", name="odd"),
    )
    head = endpoint.heads[0].lower()
    assert head.startswith("get /v1/models http/1.1")
    assert "authorization: bearer k3y-long" in head
    assert "x-a: a" in head


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"error": {"message": "bad key k3y-long"}}, "401 Unauthorized", "bad key ***"),
        (b"<html>", "200 OK", "did not answer with a list of models"),
        ({"models": []}, "200 OK", "did not answer with a list of models"),
        ({"data": [{"id": 5}]}, "200 OK", "did not answer with a list of models"),
        (b"gone", "404 Not Found", "gone"),
    ],
)
async def test_an_answer_that_is_no_list_is_an_error_without_the_key(
    body: Any, status: str, words: str
) -> None:
    """The user learns what the endpoint said."""
    async with open_endpoint(body, status) as endpoint:
        with pytest.raises(ProviderError) as caught:
            await list_models("p", endpoint.url, "k3y-long", {})
    assert words in str(caught.value)
    assert "k3y-long" not in str(caught.value)


async def test_an_endpoint_that_is_not_there_is_an_error_that_names_it() -> None:
    """Nothing listens at this port any more."""
    async with open_endpoint({}) as endpoint:
        url = endpoint.url
    with (
        trio.fail_after(REAL_LIMIT),
        pytest.raises(ProviderError, match=f"cannot ask {url}/models"),
    ):
        await list_models("p", url, "", {})
