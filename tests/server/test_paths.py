"""Request paths as Go's router takes them (wire contract 1.2, 1.3)."""

from __future__ import annotations

import pytest

from crush_trio.server.paths import clean_path, decode_path
from serving_kit import serving


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/v1/workspaces//agent", "/v1/workspaces/agent"),
        ("//v1/health", "/v1/health"),
        ("///", "/"),
        ("/v1/../health", "/health"),
        ("/../..", "/"),
        ("/v1/./health/", "/v1/health/"),
        ("/v1/health/..", "/v1"),
        ("/v1/health", "/v1/health"),
        ("/v1/health/", "/v1/health/"),
        ("/v1/%2e%2e/x", "/v1/%2e%2e/x"),
        ("/", "/"),
    ],
)
def test_paths_are_cleaned_as_go_does(path: str, clean: str) -> None:
    """Encoded dots are no dots; a last slash stays."""
    assert clean_path(path) == clean


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("/a/b%24%24c", "/a/b$$c"),
        ("/a/b$$c", "/a/b$$c"),
        ("/a/x%2Fy/z", "/a/x%2Fy/z"),
        ("/a/%2F/z", "/a///z"),
        ("/caf%C3%A9", "/café"),
    ],
)
def test_segments_are_decoded_one_by_one(path: str, decoded: str) -> None:
    """An encoded slash divides nothing; alone it is an unknown path."""
    assert decode_path(path) == decoded


async def test_a_path_that_is_not_clean_is_redirected() -> None:
    """307 for every method, known path or not, with its query."""
    async with serving() as server:
        reply = await server.request("GET", "/v1//nowhere/../health?a=b&c")
        assert (reply.status, reply.headers["location"]) == (307, "/v1/health?a=b&c")
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.body == b'<a href="/v1/health?a=b&amp;c">Temporary Redirect</a>.\n\n'
        reply = await server.request("POST", "/v1//echo/x", body=b"{}")
        assert (reply.status, reply.headers["location"], reply.body) == (307, "/v1/echo/x", b"")
        assert "content-type" not in reply.headers


async def test_a_redirect_never_leaves_this_server() -> None:
    """Browsers read a slash and a backslash as the beginning of a host name."""
    async with serving() as server:
        reply = await server.request("GET", "//\\example.org")
        assert reply.headers["location"] == "/%5Cexample.org"


async def test_ids_reach_their_route_whole() -> None:
    """Those of sub-agent sessions, and those with an encoded slash."""
    async with serving() as server:
        for segment, text in (("m$$call", "m$$call"), ("a%2Fb", "a%2Fb"), ("a%20b", "a b")):
            reply = await server.request("POST", f"/v1/echo/{segment}", body=b"{}")
            assert reply.json["path"] == text
        assert (await server.request("POST", "/v1/echo/%2F", body=b"{}")).status == 404


async def test_other_forms_of_a_target_are_understood() -> None:
    """A whole URL leads where its path leads; the rest leads nowhere."""
    async with serving() as server:
        assert (await server.request("GET", "http://t/v1/health")).status == 200
        for target in ("http://t", "?x", "*", "http://["):
            assert (await server.request("GET", target)).status == 404
