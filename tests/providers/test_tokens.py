"""Renewing what a login gave, over real sockets (agent contract 1.19, 3.4)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import attrs
import pytest
import trio

from crush_trio.errors import CrushTrioError, NotSupportedError
from crush_trio.providers.tokens import LoginEndedError, exchange_token, is_expired
from crush_trio.wire.config import Token, TokenClient

NOW = 1_000_000.5


@attrs.define
class Place:
    """A server that gives every request the same answer, and keeps what it was sent."""

    url: str = ""
    heads: list[str] = attrs.field(factory=list[str])
    forms: list[dict[str, list[str]]] = attrs.field(factory=list["dict[str, list[str]]"])


@asynccontextmanager
async def open_place(told: Any, status: str = "200 OK") -> AsyncGenerator[Place]:
    place = Place()

    async def answer(stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += await stream.receive_some()
        head, _, body = request.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if b"content-length" in line]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        while len(body) < length:
            body += await stream.receive_some()
        place.heads.append(head.decode().lower())
        place.forms.append(parse_qs(body.decode()))
        data = json.dumps(told).encode()
        start = f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        await stream.send_all(start.encode() + data)
        await stream.aclose()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, answer, 0, host="127.0.0.1")
            listeners: Any = await nursery.start(serve)
            place.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/token"
            yield place
            nursery.cancel_scope.cancel()


def token(url: str = "", **client: Any) -> Token:
    given = TokenClient(client_id="me", token_url=url, **client) if url else None
    return Token("old", "r3fresh", 3600, 1, given)


async def test_a_token_is_renewed_where_it_says() -> None:
    """By OAuth's own form; what the answer does not say stays."""
    async with open_place({"access_token": "new", "expires_in": 60}) as place:
        old = token(place.url, client_secret="s")
        new = await exchange_token("p", old, {}, NOW)
    assert new == Token("new", "r3fresh", 60, 1_000_060, old.client)
    assert place.forms == [
        {
            "grant_type": ["refresh_token"],
            "refresh_token": ["r3fresh"],
            "client_id": ["me"],
            "client_secret": ["s"],
        }
    ]
    assert place.heads[0].startswith("post /token ")


async def test_a_client_may_name_itself_in_a_header() -> None:
    """Then its secret is not in the form; a new refresh token takes the old one's place."""
    told = {"access_token": "new", "refresh_token": "next", "expires_in": "60"}
    async with open_place(told) as place:
        old = token(place.url, client_secret="s", auth_style=2)
        new = await exchange_token("p", old, {}, NOW)
    assert (new.refresh_token, new.expires_in) == ("next", 60)
    assert "authorization: basic bwu6cw==" in place.heads[0]
    assert "client_secret" not in place.forms[0]


async def test_copilot_has_a_way_of_its_own() -> None:
    """GitHub's token is good for many of Copilot's, and is shown as a bearer's."""
    told = {"token": "tid=1;exp=2", "expires_at": 1_001_800, "refresh_in": 1500}
    async with open_place(told) as place:
        headers = {"Editor-Version": "x/1"}
        new = await exchange_token("copilot", token(), headers, NOW, copilot_url=place.url)
    assert new == Token("tid=1;exp=2", "r3fresh", 1800, 1_001_800)
    assert place.heads[0].startswith("get /token ")
    assert "authorization: bearer r3fresh" in place.heads[0]
    assert "editor-version: x/1" in place.heads[0]


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    ("told", "status", "kind", "words"),
    [
        ({"error": "invalid_grant r3fresh"}, "400 Bad Request", LoginEndedError, "log in again"),
        ({"message": "r3fresh"}, "401 Unauthorized", LoginEndedError, "has ended"),
        ({}, "503 Service Unavailable", CrushTrioError, "answered 503"),
        ({"expires_in": 5}, "200 OK", CrushTrioError, "no access_token"),
        (["r3fresh"], "200 OK", CrushTrioError, "did not answer with a token"),
    ],
)
async def test_a_refusal_says_what_to_do_and_shows_no_secret(
    told: Any, status: str, kind: type[CrushTrioError], words: str
) -> None:
    """Nothing of the answer is shown."""
    async with open_place(told, status) as place:
        with pytest.raises(kind, match=words) as caught:
            await exchange_token("p", token(place.url), {}, NOW)
    assert "r3fresh" not in str(caught.value)


async def test_what_nobody_knows_how_to_renew_is_refused() -> None:
    """No guess is made where a secret would be sent."""
    with pytest.raises(NotSupportedError, match="log in again"):
        await exchange_token("p", token(), {}, NOW)
    with pytest.raises(LoginEndedError, match="no refresh token"):
        await exchange_token("copilot", Token("old"), {}, NOW)


@pytest.mark.parametrize(
    ("given", "expired"),
    [
        (Token("a", expires_in=3600, expires_at=1059), True),
        (Token("a", expires_in=3600, expires_at=1061), False),
        (Token("a", expires_in=100, expires_at=1009), True),
        (Token("a", expires_in=100, expires_at=1011), False),
        (Token("a", expires_at=1001), False),
        (Token("a", expires_at=999), True),
        (Token("a"), False),
    ],
)
def test_a_token_expires_a_little_early(given: Token, expired: bool) -> None:
    """A minute, or a tenth of a short life; without an end never."""
    assert is_expired(given, 1000) is expired
