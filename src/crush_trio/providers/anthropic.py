"""Models behind Anthropic's Messages API, through the official SDK's client.

``posting`` is how a request goes out and comes back, ``messages_body`` and ``messages_stream`` are
its form.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from crush_trio.providers.base import ModelRequest, Provider
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.messages_body import encode_request, thinks
from crush_trio.providers.messages_stream import MessagesReader
from crush_trio.providers.posting import SDK, Dialect, http_client, open_posting_provider

ADDRESS = "https://api.anthropic.com"
"""Where Anthropic's own models are."""

VERSION = "2023-06-01"
"""The version of the form that we write and read, and that other vendors know. The SDK's own moves on."""

BETA_HEADER = "anthropic-beta"

INTERLEAVED_THINKING = "interleaved-thinking-2025-05-14"
"""Lets a model think between tool calls; sent when it is to think at all (agent contract 1.12)."""

_BEARER_PROVIDERS = frozenset({"minimax", "minimax-china"})
"""Providers with Anthropic's form that want the key as a bearer token (agent contract 1.12)."""


def open_anthropic_provider(
    *,
    name: str,
    base_url: str = ADDRESS,
    api_key: str = "",
    headers: Mapping[str, str] | None = None,
    extra_body: Mapping[str, Any] | None = None,
    cache: bool = True,
) -> AbstractAsyncContextManager[Provider]:
    """Open a provider; leaving the block closes its connections.

    Nothing is imported or connected before the first request.

    Args:
        name: The provider's id, for errors and for how its key is sent.
        base_url: The endpoint, with or without the ``/v1`` that its paths begin with.
        api_key: Sent as ``x-api-key``; one that begins with ``Bearer`` as ``authorization``.
        headers: More headers for every request; they outrank the key.
        extra_body: Fields merged into every body.
        cache: Whether requests carry prompt-cache markers (agent contract 1.11).

    Raises:
        ConfigError: address, key or headers cannot be used.
    """
    own = {key.lower(): value for key, value in (headers or {}).items()}
    address = base_url.strip().rstrip("/").removesuffix("/v1")
    endpoint = Endpoint.of(name, address, "", _credentials(name, api_key.strip()) | own)
    encode = partial(encode_request, extra_body=dict(extra_body or {}), cache=cache)
    betas = partial(_betas, own.get(BETA_HEADER, ""))
    return open_posting_provider(
        endpoint, Dialect("/v1/messages", encode, MessagesReader, _import_sdk, betas)
    )


def _credentials(name: str, api_key: str) -> dict[str, str]:
    if not api_key:
        return {}
    if api_key.startswith("Bearer "):
        return {"authorization": api_key}
    if name in _BEARER_PROVIDERS:
        return {"authorization": f"Bearer {api_key}"}
    return {"x-api-key": api_key}


def _betas(configured: str, request: ModelRequest) -> dict[str, str]:
    if not thinks(request):
        return {}
    return {BETA_HEADER: ",".join(filter(None, (configured.strip(), INTERLEAVED_THINKING)))}


def _import_sdk(endpoint: Endpoint) -> SDK:
    """Import the SDK and make its client: 1 to 2 s, so never on the event loop."""
    import anthropic  # noqa: PLC0415
    import httpx2  # noqa: PLC0415

    client = anthropic.AsyncAnthropic(
        api_key="",  # said, or it looks for credentials in the environment and on the disk
        base_url=endpoint.base_url,
        max_retries=0,
        http_client=http_client(endpoint),
        open_telemetry=False,
    )
    # Not with each request, whose headers it logs. They replace those of the environment, which
    # are meant for Anthropic and not for whoever is at this address.
    client._custom_headers = {"anthropic-version": VERSION, **endpoint.headers}  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    credentials = {} if "authorization" in endpoint.headers else {"authorization": anthropic.Omit()}
    return SDK(client, anthropic, httpx2, credentials)
