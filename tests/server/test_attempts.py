"""How many wrong tokens a peer may show (A1): in virtual time, and over a socket."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from crush_trio.server.access import TokenGuard
from crush_trio.server.attempts import MOST_PEERS, Attempts
from crush_trio.settings import Settings
from serving_kit import Streams, make_app, serving

FEW = Settings(token_failures=3, token_pause=10)
TOKEN = "s3cret-token-of-this-test"


def right(token: str = TOKEN) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


@pytest.mark.promise("A1")
async def test_one_failure_is_forgiven_after_each_pause(autojump_clock: MockClock) -> None:
    """A burst is allowed, then one for each pause; what is refused beyond it costs nothing more."""
    attempts = Attempts(FEW)
    assert [attempts.fail("127.0.0.1") for _ in range(5)] == [0, 0, 0, 10, 10]
    await trio.sleep(5)
    assert attempts.fail("127.0.0.1") == 5
    await trio.sleep(5)
    assert [attempts.fail("127.0.0.1") for _ in range(2)] == [0, 10]
    await trio.sleep(1_000)
    assert [attempts.fail("127.0.0.1") for _ in range(4)] == [0, 0, 0, 10]


async def test_each_peer_has_its_own_failures(autojump_clock: MockClock) -> None:
    """Of IPv6 a peer has a whole network; an IPv4 address is the same one however it is written."""
    attempts = Attempts(FEW)
    for host in ("192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2:1"):
        assert attempts.fail(host) == 0
    assert attempts.fail("192.0.2.1") == 10
    assert attempts.fail("2001:db8::3") == 0
    assert attempts.fail("2001:db8::4") == 10
    assert attempts.fail("2001:db8:0:1::4") == 0
    assert attempts.fail("192.0.2.2") == 0


async def test_however_many_peers_there_are_the_memory_is_bounded(
    autojump_clock: MockClock,
) -> None:
    """Who failed last is remembered."""
    attempts = Attempts(FEW)
    for number in range(3 * MOST_PEERS):
        attempts.fail(f"10.0.{number // 256}.{number % 256}")
        attempts.fail("192.0.2.1")
    assert repr(attempts) == f"<Attempts of {MOST_PEERS} peers>"
    assert attempts.fail("192.0.2.1") == 10


@pytest.mark.promise("A1")
async def test_too_many_wrong_tokens_are_429_on_loopback_too_and_the_right_one_still_gets_in() -> (
    None
):
    """Everybody on this machine has one address: a guesser must not lock the owner out."""
    guarded = TokenGuard(make_app(Streams()), TOKEN, Settings(token_failures=3, token_pause=60))
    async with serving(guarded) as server:
        wrong = right("wr0ng")
        replies = [await server.request("GET", "/v1/health", headers=wrong) for _ in range(5)]
        assert [reply.status for reply in replies] == [401, 401, 401, 429, 429]
        assert replies[-1].headers["retry-after"] == "60"
        assert replies[-1].json == {
            "message": "too many wrong tokens from there: try again in 60 s"
        }
        assert (await server.request("GET", "/v1/health", headers=right())).status == 200
        assert (await server.request("GET", "/v1/health")).status == 401  # no guess at all
        client = await server.connect_h2()
        assert await client.status("GET", "/v1/health") == 401
