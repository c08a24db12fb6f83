"""The page that shows the routes: open, empty of secrets, and able to do nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import cast

import pytest
from hypercorn.typing import ASGIFramework

from crush_trio.addresses import parse_address
from crush_trio.server.doors import choose_doors
from crush_trio.server.openapi.viewer import read_page
from crush_trio.server.options import ServeOptions
from serving_kit import Streams, make_app, serving

TOKEN = "s3cret-token-of-this-test"


def test_everything_that_the_page_needs_is_in_it() -> None:
    """No script, style, font or picture from elsewhere; nothing is put in as markup."""
    text = read_page()[0].decode()
    assert not re.search(r"https?://|//[a-z]|src=|href=|@import|url\(", text)
    assert "innerHTML" not in text


def test_the_policy_names_the_script_and_the_style_of_the_page() -> None:
    """By their digests, so that nothing else runs, whatever a server answers."""
    body, policy = read_page()
    for tag in ("script", "style"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", body.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy.decode()
    assert "default-src 'none'" in policy.decode()


@pytest.mark.promise("A1")
async def test_the_page_needs_no_token_and_all_that_it_asks_for_does() -> None:
    """A browser cannot show one before it has a page; a foreign page cannot have even that."""
    address, env = parse_address("tcp://127.0.0.1:0"), {"CRUSH_TRIO_TOKEN": TOKEN}
    doors = choose_doors(ServeOptions(address, env=env, allow_hosts=("t",)))
    async with serving(doors.guard(cast("ASGIFramework", make_app(Streams())))) as server:
        for path in ("/v1/docs", "/v1/docs/"):
            page = await server.request("GET", path)
            assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert page.body == read_page()[0]
            assert "content-security-policy" in page.headers
        for method, path in (("GET", "/v1/health"), ("POST", "/v1/docs/"), ("GET", "/v1/docs/x")):
            assert (await server.request(method, path)).status == 401
        foreign = (("Origin", "http://evil.example"),)
        assert (await server.request("GET", "/v1/docs/", headers=foreign)).status == 403
