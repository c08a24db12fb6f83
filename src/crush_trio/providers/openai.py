"""Models behind an OpenAI-compatible endpoint, through the official SDK's client.

``posting`` is how a request goes out and comes back, ``chat`` and ``chat_stream`` are its form.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from crush_trio.providers.base import Provider
from crush_trio.providers.chat import encode_request
from crush_trio.providers.chat_stream import ChatReader
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.posting import SDK, Dialect, http_client, open_posting_provider


def open_openai_provider(
    *,
    name: str,
    base_url: str,
    api_key: str = "",
    headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    replay_reasoning: bool = True,
) -> AbstractAsyncContextManager[Provider]:
    """Open a provider; leaving the block closes its connections.

    Nothing is imported or connected before the first request.

    Args:
        name: The provider's id, for errors.
        base_url: The endpoint, such as ``https://api.openai.com/v1``.
        api_key: Sent as a bearer token; if empty, nothing is.
        headers: More headers for every request; they outrank the key.
        extra_body: Fields merged into every body (agent contract 3.4).
        replay_reasoning: Whether earlier reasoning goes back to the model; not to OpenAI's own.

    Raises:
        ConfigError: address, key or headers cannot be used.
    """
    encode = partial(
        encode_request, extra_body=dict(extra_body or {}), replay_reasoning=replay_reasoning
    )
    return open_posting_provider(
        Endpoint.of(name, base_url, api_key, headers or {}),
        Dialect("/chat/completions", encode, ChatReader, _import_sdk),
    )


def _import_sdk(endpoint: Endpoint) -> SDK:
    """Import the SDK and make its client: 0.7 s, so never on the event loop."""
    import httpx2  # noqa: PLC0415
    import openai  # noqa: PLC0415

    client = openai.AsyncOpenAI(
        api_key="",
        admin_api_key="",
        base_url=endpoint.base_url,
        max_retries=0,
        http_client=http_client(endpoint),
        _enforce_credentials=False,
    )
    # Taken from the environment, and meant for OpenAI: not for whoever is at this address.
    client.organization = client.project = None
    # Said in every request, or the SDK takes it from its environment variables.
    headers = {"authorization": openai.Omit(), **endpoint.headers}
    return SDK(client, openai, httpx2, headers)
