"""Renewing what a login gave: a fresh access token for a refresh token (agent contract 1.19, 3.4).

A token that names who it was given to and where it is renewed is renewed there, by OAuth's own form
(RFC 6749, section 6). Copilot's has its own: GitHub's token for one of half an hour.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from crush_trio.errors import NotSupportedError, ProviderError
from crush_trio.providers.asking import ask
from crush_trio.providers.endpoint import Endpoint
from crush_trio.wire.config import Token, TokenClient

COPILOT = "copilot"
"""The id of GitHub Copilot in the catalogue."""

COPILOT_TOKEN_URL = "https://api.github.com/copilot_internal/v2/token"  # noqa: S105  an address
"""Where GitHub gives tokens for Copilot."""

IN_HEADER = 2
"""The ``auth_style`` of a client that names itself in a header; all others do it in the body."""

MARGIN = 60
"""Seconds before its end at which a token counts as expired, but at most a tenth of its life."""

_REFUSED = frozenset({400, 401, 403})


class LoginEndedError(ProviderError):
    """A refresh token is not valid any more: somebody has to log in again."""


class TokenExchange(Protocol):
    """The seam to whoever gives tokens: :func:`exchange_token`."""

    def __call__(
        self, provider_id: str, token: Token, headers: Mapping[str, str], now: float
    ) -> Awaitable[Token]:
        """Return a new token for an old one; raises ``CrushTrioError`` if there is none."""
        ...


def is_expired(token: Token, now: float) -> bool:
    """Whether a token is not worth sending any more; one that names no end never is."""
    margin = min(MARGIN, token.expires_in / 10) if token.expires_in > 0 else 0
    return 0 < token.expires_at <= now + margin


async def exchange_token(
    provider_id: str,
    token: Token,
    headers: Mapping[str, str],
    now: float,
    *,
    copilot_url: str = COPILOT_TOKEN_URL,
) -> Token:
    """Return a new token for an old one. Waits for the answer; the caller bounds that.

    Args:
        provider_id: Whose login it is.
        token: What the login gave, or its last renewal.
        headers: What the provider's requests carry; Copilot wants to know its client by them.
        now: Unix seconds.
        copilot_url: Where Copilot's tokens come from.

    Raises:
        LoginEndedError: the refresh token is refused.
        NotSupportedError: nobody here knows how to renew this one.
        ProviderError: the place cannot be reached, or answers something else.
    """
    client = token.client or TokenClient()
    if not token.refresh_token:
        raise _ended(provider_id, "there is no refresh token")
    if client.token_url:
        place, form = _by_grant(provider_id, client, token.refresh_token)
        told = await _told(provider_id, place, form)
        return _granted(told, token, now)
    if provider_id == COPILOT:
        place = Endpoint.of(provider_id, copilot_url, token.refresh_token, headers)
        return _for_copilot(await _told(provider_id, place), token, now)
    raise NotSupportedError(
        f"the token of provider {provider_id!r} does not say where it is renewed: "
        "log in again with crush"
    )


def _ended(provider_id: str, why: str) -> LoginEndedError:
    return LoginEndedError(
        f"the login of provider {provider_id!r} has ended ({why}): log in again with crush",
        title="Unauthorized",
        http_status=401,
    )


def _by_grant(
    provider_id: str, client: TokenClient, refresh_token: str
) -> tuple[Endpoint, dict[str, str]]:
    """Return the place, and what is sent there."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    headers = {"accept": "application/json"}
    if client.auth_style == IN_HEADER:
        pair = f"{quote(client.client_id, '')}:{quote(client.client_secret, '')}"
        headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form["client_id"] = client.client_id
        if client.client_secret:
            form["client_secret"] = client.client_secret
    return Endpoint.of(provider_id, client.token_url, "", headers), form


async def _told(
    provider_id: str, place: Endpoint, form: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the JSON object that a place answers; nothing of it is in an error (A2)."""
    status, body = await ask(place, place.base_url, form=form)
    if status in _REFUSED:
        raise _ended(provider_id, f"{place.shown_url} answered {status}")
    if status >= 400:
        raise ProviderError(f"{place.shown_url} answered {status}", http_status=status)
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProviderError(f"{place.shown_url} did not answer with a token") from error


def _granted(told: dict[str, Any], old: Token, now: float) -> Token:
    lasts = _seconds(told.get("expires_in"))
    return Token(
        access_token=_text(told, "access_token"),
        refresh_token=str(told.get("refresh_token") or old.refresh_token),
        expires_in=lasts,
        expires_at=int(now) + lasts if lasts else 0,
        client=old.client,
    )


def _for_copilot(told: dict[str, Any], old: Token, now: float) -> Token:
    ends = _seconds(told.get("expires_at"))
    return Token(
        access_token=_text(told, "token"),
        refresh_token=old.refresh_token,
        expires_in=max(0, ends - int(now)),
        expires_at=ends,
        client=old.client,
    )


def _text(told: dict[str, Any], key: str) -> str:
    value = told.get(key)
    if not isinstance(value, str) or not value:
        raise ProviderError(f"the answer to the renewal of a token has no {key}")
    return value


def _seconds(value: Any) -> int:
    """Return a number of seconds, which some servers send as a text."""
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return 0
