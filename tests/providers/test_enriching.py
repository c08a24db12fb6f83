"""What servers tell of their models beside the list, over real sockets (agent contract 3.4)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from crush_trio.providers.discovery import list_models
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.enriching import enriched
from crush_trio.wire.config import Model

Answers = dict[str, Any]
"""What is answered, by method, path and what was sent."""


@attrs.define
class Server:
    """A server with an answer for each question, and 404 for the rest."""

    url: str
    questions: list[str] = attrs.field(factory=list[str])


@asynccontextmanager
async def open_server(answers: Answers) -> AsyncGenerator[Server]:
    server = Server("")

    async def answer(stream: trio.SocketStream) -> None:
        request = b""
        while (parts := request.partition(b"\r\n\r\n"))[1] == b"" or not _is_whole(parts):
            request += await stream.receive_some()
        method, path, _ = request.decode().split(" ", 2)
        question = f"{method} {path} {parts[2].decode()}".strip()
        server.questions.append(question)
        status = "200 OK" if question in answers else "404 Not Found"
        data = json.dumps(answers.get(question, {"error": "nothing here"})).encode()
        start = f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        await stream.send_all(start.encode() + data)
        await stream.aclose()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
            listeners: Any = await nursery.start(serve)
            server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
            yield server
            nursery.cancel_scope.cancel()


def _is_whole(parts: tuple[bytes, bytes, bytes]) -> bool:
    lengths = [
        line for line in parts[0].lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    return not lengths or len(parts[2]) >= int(lengths[0].partition(b":")[2])


def listing(*ids: str) -> Answers:
    return {"GET /v1/models": {"object": "list", "data": [{"id": one} for one in ids]}}


async def test_ollama_is_asked_for_each_model() -> None:
    """A model of which it does not tell stays as it was listed."""
    answers = listing("qwen3:8b", "llava", "gone") | {
        'POST /api/show {"model":"qwen3:8b"}': {
            "capabilities": ["completion", "tools", "thinking"],
            "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
        },
        'POST /api/show {"model":"llava"}': {
            "capabilities": ["completion", "vision"],
            "model_info": {"llama.context_length": 4096},
        },
    }
    async with open_server(answers) as server:
        found = await list_models("p", server.url, "", {}, "ollama")
    assert found == (
        Model(id="qwen3:8b", name="qwen3:8b", context_window=40960, can_reason=True),
        Model(id="llava", name="llava", context_window=4096, supports_attachments=True),
        Model(id="gone", name="gone"),
    )


async def test_lm_studio_has_a_list_of_its_own() -> None:
    """The window that a model was loaded with counts before the one that it could have."""
    data = [
        {"id": "a", "type": "llm", "max_context_length": 131072, "loaded_context_length": 8192},
        {"id": "b", "type": "vlm", "state": "not-loaded", "max_context_length": 32768},
        {"id": "not-listed", "max_context_length": 1},
    ]
    answers = listing("a", "b") | {"GET /api/v0/models": {"data": data}}
    async with open_server(answers) as server:
        found = await list_models("p", server.url, "", {}, "lmstudio")
    assert found == (
        Model(id="a", name="a", context_window=8192),
        Model(id="b", name="b", context_window=32768, supports_attachments=True),
    )


async def test_llama_cpp_tells_what_it_was_started_with() -> None:
    """That holds for its model, if there is only one."""
    props = {"default_generation_settings": {"n_ctx": 16384}, "modalities": {"vision": True}}
    answers = listing("m") | {"GET /props": props}
    async with open_server(answers) as server:
        found = await list_models("p", server.url, "", {}, "llamacpp")
    assert found == (Model(id="m", name="m", context_window=16384, supports_attachments=True),)


async def test_lite_llm_tells_limits_and_prices() -> None:
    """For a token; clients are told them for a million."""
    info = {
        "max_input_tokens": 200000,
        "max_output_tokens": 64000,
        "supports_vision": True,
        "supports_reasoning": True,
        "input_cost_per_token": 3e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_read_input_token_cost": None,
    }
    data = [{"model_name": "sonnet", "model_info": info}, {"model_name": "other"}]
    answers = listing("sonnet") | {"GET /model/info": {"data": data}}
    async with open_server(answers) as server:
        found = await list_models("p", server.url, "", {}, "litellm")
    assert found == (
        Model(
            id="sonnet",
            name="sonnet",
            cost_per_1m_in=3.0,
            cost_per_1m_out=15.0,
            cost_per_1m_in_cached=3.75,
            context_window=200000,
            default_max_tokens=64000,
            can_reason=True,
            supports_attachments=True,
        ),
    )


@pytest.mark.promise("C3")
@pytest.mark.parametrize(
    ("kind", "place", "told"),
    [
        ("ollama", 'POST /api/show {"model":"m"}', ["no", "object"]),
        ("ollama", 'POST /api/show {"model":"m"}', {"capabilities": 5, "model_info": "x"}),
        ("lmstudio", "GET /api/v0/models", {"data": 5}),
        ("lmstudio", "GET /api/v0/models", {"data": [{"id": "m", "max_context_length": "many"}]}),
        ("llamacpp", "GET /props", {"default_generation_settings": None}),
        ("litellm", "GET /model/info", {"data": [{"model_name": "m", "model_info": None}]}),
        ("litellm", "GET /nowhere", {}),
        ("omlx", "GET /nowhere", {}),
        ("openai-compat", "GET /nowhere", {}),
    ],
)
async def test_what_is_told_wrongly_or_not_at_all_leaves_the_list_as_it_is(
    kind: str, place: str, told: Any
) -> None:
    """The models can be used all the same."""
    async with open_server(listing("m") | {place: told}) as server:
        found = await list_models("p", server.url, "", {}, kind)
    assert found == (Model(id="m", name="m"),)


async def test_a_server_that_is_slow_to_tell_more_is_not_waited_for() -> None:
    """Nothing of its answer is used once the time is up; the list may be used all the same."""
    models = (Model(id="m", name="m"),)
    answers = {"GET /api/v0/models": {"data": [{"id": "m", "max_context_length": 5}]}}
    async with open_server(answers) as server:
        place = Endpoint.of("p", server.url, "", {})
        assert await enriched(place, "lmstudio", models, limit=0) == models
        in_time = await enriched(place, "lmstudio", models)
    assert in_time == (Model(id="m", name="m", context_window=5),)
