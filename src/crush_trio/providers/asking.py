"""One short question to an endpoint, and its whole answer."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.endpoint import Endpoint
from crush_trio.providers.trust import LateTrust

BODY_LIMIT = 16 * 2**20
"""Bytes of an answer that are read; the longest list that is known is half a megabyte."""


async def ask(
    endpoint: Endpoint, url: str, body: Any = None, *, form: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Return the status and the body of a GET, or of a POST if there is something to send.

    Waits for the connection and the answer; the caller bounds that.

    Args:
        endpoint: Whose headers are sent.
        url: Below the endpoint, or beside it on the same server.
        body: Sent as JSON.
        form: Sent as a form instead.

    Raises:
        ProviderError: it cannot be reached, or answers without end.
    """
    # An import that nobody waits for any more does no harm.
    httpx = await trio.to_thread.run_sync(_import_httpx, abandon_on_cancel=True)
    sent: dict[str, Any] = {} if body is None else {"json": body}
    if form is not None:
        sent = {"data": dict(form)}
    try:
        async with (
            httpx.AsyncClient(
                timeout=None,
                trust_env=not endpoint.is_local,
                verify=True if endpoint.has_tls else LateTrust(ssl.PROTOCOL_TLS_CLIENT),
            ) as client,
            client.stream(
                "POST" if sent else "GET", url, headers=dict(endpoint.headers), **sent
            ) as response,
        ):
            data = b""
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > BODY_LIMIT:
                    raise ProviderError(f"{url.split('?', 1)[0]} answers without end")
            return response.status_code, data
    except httpx.HTTPError as error:
        text = f"cannot ask {url.split('?', 1)[0]}: {error or type(error).__name__}"
        failure = ProviderError(endpoint.clean(text), retryable=True)
    raise failure from None


def _import_httpx() -> Any:
    """Import the HTTP client, which takes too long for the event loop."""
    import httpx2  # noqa: PLC0415

    return httpx2
