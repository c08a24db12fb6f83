"""What a foreign web page can make a browser send is refused (A1): over both protocols, on both networks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import h11
import pytest

from crush_trio.addresses import Address
from crush_trio.cli.asking import Question, asker
from crush_trio.errors import BadRequestError
from crush_trio.server.access import TokenGuard
from crush_trio.server.origins import OriginGuard, allowed_hosts, host_name
from serving_kit import LOOPBACK, Server, Streams, make_app, read_reply, serving

TOKEN = "s3cret-token-of-this-test"
SHOWN = ("authorization", f"Bearer {TOKEN}")

protocols = pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
networks = pytest.mark.parametrize("network", ["tcp", "unix"])


@attrs.frozen
class Visitor:
    """Somebody with the token, in a browser or not."""

    server: Server
    protocol: str

    async def ask(
        self,
        *headers: tuple[str, str],
        host: str = "localhost",
        method: str = "GET",
        target: str = "/v1/health",
        body: bytes = b"",
    ) -> str:
        """Return the status of the answer."""
        question = Question(method, target, host, (SHOWN, *headers), body)
        return await asker(self.server.address, self.protocol)(question)

    async def put(self, *headers: tuple[str, str], body: bytes = b'{"text":"hi"}') -> str:
        """Return the status of the answer to a request that changes something."""
        return await self.ask(*headers, method="PUT", target="/v1/note", body=body)


@asynccontextmanager
async def visiting(protocol: str, address: Address = LOOPBACK) -> AsyncGenerator[Visitor]:
    """Serve behind all guards; over TCP also by the name ``box.example``."""
    app = TokenGuard(make_app(Streams()), TOKEN)
    hosts = allowed_hosts(address, ["box.example"] if address.network == "tcp" else ())
    async with serving(OriginGuard(app, hosts), address=address) as server:
        yield Visitor(server, protocol)


def place(tmp_path: Path, network: str) -> Address:
    return LOOPBACK if network == "tcp" else Address("unix", path=str(tmp_path / "server.sock"))


# --- the name that the request is for ---------------------------------------------------------

OURS = (
    "localhost",
    "LocalHost:80",
    "127.0.0.1",
    "127.8.8.8:4096",
    "[::1]",
    "[::1]:4096",
    "api.crush.localhost",
    "box.example:1",
    "Box.Example",
)

FOREIGN = (
    "attacker.example",
    "attacker.example:80",
    "localhost.attacker.example",
    "attacker.localhost",
    "127.0.0.1.attacker.example",
    "192.0.2.1",
    "0.0.0.0",
    "[::]:80",
    "2130706433",
    "localhost@attacker.example",
    "attacker.example:80:80",
    "[::1",
    ":80",
    "",
)


@pytest.mark.promise("A1")
@protocols
async def test_a_foreign_host_name_is_403_over_tcp(protocol: str) -> None:
    """A name that was made to lead to this machine makes a page of the same origin as the server."""
    async with visiting(protocol) as visitor:
        assert {host: await visitor.ask(host=host) for host in OURS} == dict.fromkeys(OURS, "200")
        answers = {host: await visitor.ask(host=host) for host in FOREIGN}
        assert answers == dict.fromkeys(FOREIGN, "403")


@pytest.mark.promise("A1")
@protocols
async def test_the_host_name_counts_before_anything_else(protocol: str) -> None:
    """Before the token and before the path: a rebound page learns nothing, and its guess is not counted."""
    async with visiting(protocol) as visitor:
        ask = asker(visitor.server.address, protocol)
        for target in ("/v1/health", "/nowhere", "/v1//health"):
            assert await ask(Question("GET", target, "attacker.example")) == "403"
            assert await ask(Question("GET", target, "localhost")) == "401"


@pytest.mark.promise("A1")
async def test_a_foreign_name_in_the_target_is_403() -> None:
    """A whole URL outranks the header (RFC 9112, 3.2.2)."""
    async with visiting("http/1.1") as visitor:
        for target in ("http://attacker.example/v1/health", "https://attacker.example:80", "x:80"):
            assert await visitor.ask(target=target) == "403"
        assert await visitor.ask(target="http://localhost/v1/health") == "200"


@pytest.mark.promise("A1")
async def test_a_request_that_names_no_host_is_403_over_tcp() -> None:
    """HTTP/1.0 lets it."""
    async with visiting("http/1.1") as visitor:
        stream = await visitor.server.connect()
        await stream.send_all(f"GET /v1/health HTTP/1.0\r\n{SHOWN[0]}: {SHOWN[1]}\r\n\r\n".encode())
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "t")]))
        connection.send(h11.EndOfMessage())
        reply = await read_reply(stream, connection)
        assert reply.status == 403
        assert "'' is not a name of this server" in reply.json["message"]


@protocols
async def test_on_a_unix_socket_any_host_name_is_answered(tmp_path: Path, protocol: str) -> None:
    """No name leads there, and clients say what they like."""
    async with visiting(protocol, place(tmp_path, "unix")) as visitor:
        for host in ("api.crush.localhost", "localhost", "attacker.example"):
            assert await visitor.ask(host=host) == "200"


# --- the page that the request is from --------------------------------------------------------


@pytest.mark.promise("A1")
@networks
@protocols
async def test_a_page_of_another_origin_is_403(tmp_path: Path, network: str, protocol: str) -> None:
    """Also one of this machine, whose port may be anybody's, and one without an origin."""
    async with visiting(protocol, place(tmp_path, network)) as visitor:
        for origin in (
            "https://attacker.example",
            "http://localhost",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "https://localhost:4096",
            "http://localhost:4096.attacker.example",
            "chrome-extension://abcdef",
            "null",
            "",
        ):
            answer = await visitor.ask(("origin", origin), host="localhost:4096")
            assert (origin, answer) == (origin, "403")
        for site in ("cross-site", "same-site", "Cross-Site", "unheard-of"):
            assert (site, await visitor.ask(("sec-fetch-site", site))) == (site, "403")
        asked = (("origin", "http://localhost:3000"), ("access-control-request-method", "POST"))
        assert await visitor.ask(*asked, method="OPTIONS") == "403"


@protocols
async def test_a_page_of_the_servers_own_and_a_typed_address_are_answered(protocol: str) -> None:
    """Over TCP, where the name has been found to be ours."""
    async with visiting(protocol) as visitor:
        own = ("origin", "http://localhost:4096")
        assert await visitor.ask(own, host="localhost:4096") == "200"
        for site in ("same-origin", "none"):
            assert await visitor.ask(("sec-fetch-site", site)) == "200"


@pytest.mark.promise("A1")
@protocols
async def test_no_page_is_a_unix_sockets_own(tmp_path: Path, protocol: str) -> None:
    """Its host name can be anything, so that one like the origin's proves nothing."""
    async with visiting(protocol, place(tmp_path, "unix")) as visitor:
        rebound = ("origin", "http://attacker.example:8080")
        assert await visitor.ask(rebound, host="attacker.example:8080") == "403"


# --- what the request carries -------------------------------------------------------------------


@pytest.mark.promise("A1")
@networks
@protocols
async def test_a_browsers_body_must_be_called_json(
    tmp_path: Path, network: str, protocol: str
) -> None:
    """Forms, and pages that may not ask first, cannot call theirs so."""
    async with visiting(protocol, place(tmp_path, network)) as visitor:
        for mark in (("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors")):
            for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
                assert await visitor.put(mark, ("content-type", kind)) == "415"
            assert await visitor.put(mark) == "415"
            twice = (("content-type", "application/json"), ("content-type", "text/plain"))
            assert await visitor.put(mark, *twice) == "415"
            for kind in ("application/json", "Application/JSON; charset=utf-8"):
                assert await visitor.put(mark, ("content-type", kind)) == "200"
            assert await visitor.ask(mark, method="POST", target="/nowhere") == "404"  # no body


@networks
@protocols
async def test_other_clients_may_call_their_json_what_they_like(
    tmp_path: Path, network: str, protocol: str
) -> None:
    """Crush's own sends its control command as text (wire contract 1.2)."""
    async with visiting(protocol, place(tmp_path, network)) as visitor:
        assert await visitor.put(("content-type", "text/plain")) == "200"
        assert await visitor.put() == "200"


# --- how names are read ----------------------------------------------------------------------------


def test_the_listening_address_is_one_of_the_names_unless_it_means_every_one() -> None:
    """A page could name ``0.0.0.0``, and browsers do not say then where the page is from."""
    assert allowed_hosts(Address("tcp", host="192.0.2.7", port=1)) == {
        "192.0.2.7",
        "api.crush.localhost",
    }
    for host in ("0.0.0.0", "::"):
        assert allowed_hosts(Address("tcp", host=host, port=1)) == {"api.crush.localhost"}


def test_allowed_names_are_names_alone() -> None:
    """C4: a port would promise what is not looked at; addresses may have brackets or not."""
    address = Address("tcp", host="localhost", port=1)
    allowed = allowed_hosts(address, ["Box.Example", "192.0.2.9", "2001:db8::1", "[2001:db8::2]"])
    assert allowed is not None
    assert allowed > {"box.example", "192.0.2.9", "2001:db8::1", "2001:db8::2"}
    for bad in ("box.example:80", "http://box.example", "", "a b", "*", "[2001:db8::2]:80"):
        with pytest.raises(BadRequestError, match="is not a name or an IP address"):
            allowed_hosts(address, [bad])


def test_a_host_is_read_as_a_browser_writes_it() -> None:
    """Name or bracketed address, and perhaps a port."""
    assert [host_name(text) for text in ("A.b:80", "[::1]:80", "a:", "a:b", "[a", "::1")] == [
        "a.b",
        "::1",
        "a",
        "",
        "",
        "",
    ]
