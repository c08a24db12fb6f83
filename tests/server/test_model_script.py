"""The scripted model's endpoint, where the provider contract does not reach."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import trio

from crush_trio.providers.scripted import Hang, Say, ScriptedModel, WaitFor
from crush_trio.server.model_script import open_model_server
from limits_kit import REAL_LIMIT

BODY: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
}


async def test_models_are_listed() -> None:
    """For programs that look before they ask."""
    async with open_model_server(ScriptedModel()) as url, httpx2.AsyncClient() as client:
        with trio.fail_after(REAL_LIMIT):
            reply = await client.get(f"{url}/models")
    assert [model["id"] for model in reply.json()["data"]] == ["scripted"]


async def test_an_answer_is_an_event_stream() -> None:
    """As any client of the API reads it, to the last line."""
    async with open_model_server(ScriptedModel("a b")) as url, httpx2.AsyncClient() as client:
        with trio.fail_after(REAL_LIMIT):
            reply = await client.post(f"{url}/chat/completions", json=BODY)
    assert reply.headers["content-type"] == "text/event-stream"
    *events, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert chunks[0]["choices"][0]["delta"] == {"content": "a "}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("change", "about"),
    [({"stream": False}, "stream"), ({"messages": 1}, "messages"), ({"model": None}, "model")],
)
async def test_a_request_that_cannot_be_read_is_refused(change: dict[str, Any], about: str) -> None:
    """With a 400 that names the field; the script goes on where it was."""
    model = ScriptedModel("first")
    async with open_model_server(model) as url, httpx2.AsyncClient() as client:
        with trio.fail_after(REAL_LIMIT):
            reply = await client.post(f"{url}/chat/completions", json=BODY | change)
            assert reply.status_code == 400
            assert about in reply.json()["error"]["message"]
            assert "first" in (await client.post(f"{url}/chat/completions", json=BODY)).text


async def test_another_path_is_not_found() -> None:
    """Usually a base URL without its ``/v1``."""
    async with open_model_server(ScriptedModel()) as url, httpx2.AsyncClient() as client:
        with trio.fail_after(REAL_LIMIT):
            reply = await client.get(f"{url}/nothing")
    assert reply.status_code == 404
    assert "GET /v1/nothing" in reply.json()["error"]["message"]


async def test_a_gate_is_opened_over_http() -> None:
    """By whoever drives the program that asks: a test in another process."""
    model = ScriptedModel([WaitFor("door"), Say("a")])
    with trio.fail_after(REAL_LIMIT):
        async with open_model_server(model) as url, httpx2.AsyncClient() as client:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    reply = await client.post(f"{url}/chat/completions", json=BODY)
                    assert '"content":"a"' in reply.text

                nursery.start_soon(ask)
                await model.wait_request(1)
                assert model.open_streams == 1
                assert (await client.post(f"{url}/gates/door")).status_code == 200


async def test_a_closed_endpoint_leaves_no_stream_open() -> None:
    """Leaving the block ends what its clients still read."""
    model = ScriptedModel([Say("a"), Hang()])
    broken: list[httpx2.RequestError] = []

    async def ask(client: httpx2.AsyncClient, address: str) -> None:
        try:
            await client.post(address, json=BODY)
        except httpx2.RequestError as error:
            broken.append(error)

    with trio.fail_after(REAL_LIMIT):
        async with httpx2.AsyncClient() as client, trio.open_nursery() as nursery:
            async with open_model_server(model) as url:
                address = f"{url}/chat/completions"
                nursery.start_soon(ask, client, address)
                await model.wait_request(1)
    assert len(broken) == 1
    assert (model.open_streams, model.closed_streams) == (0, 1)
