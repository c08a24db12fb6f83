"""Who gets in over TCP (A1), and that the token stays where it belongs (A2)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from quart_trio import QuartTrio

from crush_trio.addresses import Address
from crush_trio.errors import ConfigError
from crush_trio.server.access import (
    TokenGuard,
    choose_token,
    published_token,
    token_paths,
)
from crush_trio.server.doors import choose_doors
from crush_trio.server.options import ServeOptions
from crush_trio.server.publishing import write_private
from serving_kit import Streams, make_app, serving

TOKEN = "s3cret-token-of-this-test"
TCP = Address("tcp", host="127.0.0.1", port=4096)


def guarded() -> QuartTrio:
    app = make_app(Streams())
    app.asgi_app = TokenGuard(app.asgi_app, TOKEN)
    return app


WRONG = (None, "", TOKEN, "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}")


@pytest.mark.promise("A1")
async def test_without_the_right_token_everything_is_401() -> None:
    """Before anything else: nobody learns which paths exist."""
    async with serving(guarded()) as server:
        for credentials in WRONG:
            for path in ("/v1/health", "/nowhere", "/v1//health"):
                headers = () if credentials is None else (("Authorization", credentials),)
                reply = await server.request("GET", path, headers=headers)
                assert reply.status == 401
                assert reply.headers["www-authenticate"] == "Bearer"
                assert reply.headers["content-type"] == "application/json"
                assert list(reply.json) == ["message"]
                assert reply.body.endswith(b"}\n")
                assert TOKEN.encode() not in reply.body


@pytest.mark.promise("A1")
async def test_the_right_token_lets_in() -> None:
    """However its scheme is spelled; two headers are one too many."""
    async with serving(guarded()) as server:
        for scheme in ("Bearer", "bearer"):
            shown = ("Authorization", f"{scheme} {TOKEN}")
            assert (await server.request("GET", "/v1/health", headers=(shown,))).status == 200
            assert (await server.request("GET", "/v1/health", headers=(shown, shown))).status == 401


@pytest.mark.promise("A1")
async def test_http2_asks_for_the_token_as_well() -> None:
    """There is one door."""
    async with serving(guarded()) as server:
        client = await server.connect_h2()
        assert await client.status("GET", "/v1/health") == 401


def test_a_unix_socket_needs_no_token() -> None:
    """Its file mode is the guard."""
    assert choose_token(Address("unix", path="/s"), {"CRUSH_TRIO_TOKEN": "given"}) is None


@pytest.mark.promise("A1")
def test_each_start_makes_a_token_of_its_own() -> None:
    """Long enough that nobody guesses it."""
    first, second = choose_token(TCP, {}), choose_token(TCP, {})
    assert first is not None
    assert first != second
    assert len(first) >= 43


def test_a_token_may_be_given() -> None:
    """By the environment; it must be one that a header can carry."""
    assert choose_token(TCP, {"CRUSH_TRIO_TOKEN": "given"}) == "given"
    for bad in ("two words", "line\nbreak", "é"):
        with pytest.raises(ConfigError, match="visible ASCII") as caught:
            choose_token(TCP, {"CRUSH_TRIO_TOKEN": bad})
        assert bad not in str(caught.value)


@pytest.mark.promise("A1")
def test_a_token_file_outranks_the_variable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is around the token does not count; a file for its owner alone is nothing to warn of."""
    path = tmp_path / "token"
    write_private(path, f" {TOKEN}\n", "token")
    assert choose_token(TCP, {"CRUSH_TRIO_TOKEN": "given"}, token_file=path) == TOKEN
    assert caplog.text == ""


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read token file .*: no such file or directory"),
        (b"\n", "is empty"),
        (b"two words-s3cret", "may hold visible ASCII characters only"),
        (b"s3cret\xff\xfe", "cannot read token file .*: it is not text"),
    ],
)
def test_a_token_file_that_holds_none_is_an_error(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """It names the file, and repeats nothing of it."""
    path = tmp_path / "Token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        choose_token(TCP, {}, token_file=path)
    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_token_that_others_may_learn_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By reading its file, or by guessing; it is used all the same."""
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o640)
    assert choose_token(TCP, {}, token_file=path) == TOKEN
    assert "can be used by others: chmod 600 it" in caplog.text
    caplog.clear()
    assert choose_token(TCP, {"CRUSH_TRIO_TOKEN": "sh0rt"}) == "sh0rt"
    assert "CRUSH_TRIO_TOKEN holds a token that is short enough to be guessed" in caplog.text
    assert "sh0rt" not in caplog.text


@pytest.mark.promise("A1")
def test_going_without_a_token_is_for_loopback_only() -> None:
    """Elsewhere other machines could prompt."""
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert choose_token(Address("tcp", host=host, port=1), {}, no_token=True) is None
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ConfigError, match="needs a token"):
            choose_token(Address("tcp", host=host, port=1), {}, no_token=True)


@pytest.mark.promise("A2")
def test_a_token_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """File 0600 in a directory 0700, also over a file that was laxer; nothing else is left there."""
    path = tmp_path / "tokens" / "tcp"
    path.parent.mkdir(mode=0o755)
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, TOKEN, "token")
    assert path.read_text() == TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_token_file_is_removed_at_the_end(tmp_path: Path) -> None:
    """Unless another server has put its own there."""
    ours, theirs = tmp_path / "tokens" / "a", tmp_path / "tokens" / "b"
    with published_token(frozenset({ours, theirs}), TOKEN):
        assert ours.read_text() == theirs.read_text() == TOKEN
        write_private(theirs, "of another server", "token")
    assert not ours.exists()
    assert theirs.read_text() == "of another server"
    with published_token(frozenset({ours}), TOKEN):
        ours.write_bytes(b"\xff, and no text at all")
    assert ours.exists()


@pytest.mark.promise("A2")
def test_a_token_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """It names the file, and not the token; nothing is left that holds one."""
    (tmp_path / "file").write_text("")
    (tmp_path / "tokens" / "taken").mkdir(parents=True)
    for path in (tmp_path / "file" / "token", tmp_path / "tokens" / "taken"):
        with pytest.raises(ConfigError, match="cannot write the token file") as caught:
            write_private(path, TOKEN, "token")
        assert TOKEN not in str(caught.value)
    assert [each.name for each in (tmp_path / "tokens").iterdir()] == ["taken"]


def test_clients_find_the_token_however_they_call_this_machine() -> None:
    """A server on all interfaces, or on localhost, is found under the names that lead to it."""
    local = token_paths(Address("tcp", host="127.0.0.1", port=80), {})
    assert local == token_paths(Address("tcp", host="localhost", port=80), {})
    assert local < token_paths(Address("tcp", host="0.0.0.0", port=80), {})
    assert len(token_paths(Address("tcp", host="192.0.2.1", port=80), {})) == 1


def test_a_token_that_was_given_is_not_written_down() -> None:
    """Whoever set the variable can set it for clients too; a file of the server's is for it alone."""
    assert not token_paths(TCP, {"CRUSH_TRIO_TOKEN": "given"})
    assert token_paths(TCP, {"CRUSH_TRIO_TOKEN": "given"}, token_file=Path("f")) == token_paths(
        TCP, {}
    )


@pytest.mark.promise("A2")
def test_the_guard_does_not_show_its_token() -> None:
    """Not in its repr, which ends up in tracebacks and logs."""
    assert TOKEN not in repr(TokenGuard(make_app(Streams()), TOKEN))
    doors = choose_doors(ServeOptions(TCP, env={"CRUSH_TRIO_TOKEN": TOKEN}))
    assert doors.token == TOKEN
    assert TOKEN not in repr(doors)
