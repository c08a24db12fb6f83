"""How addresses are spelled, and where the default one and its token are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crush_trio.addresses import (
    Address,
    default_address,
    parse_address,
    read_token,
    token_path,
)
from crush_trio.errors import BadRequestError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/a b.sock", Address("unix", path="/run/a b.sock")),
        ("tcp://localhost:80", Address("tcp", host="localhost", port=80)),
        ("tcp://[::1]:0", Address("tcp", host="::1", port=0)),
        ("https://localhost:80", Address("tcp", host="localhost", port=80, tls=True)),
    ],
)
def test_an_address_reads_as_it_is_written(text: str, address: Address) -> None:
    """Crush's spelling (wire contract 10.2)."""
    assert parse_address(text) == address
    assert str(address) == text


def test_a_url_is_an_address_too() -> None:
    """As a browser would write it; the usual ports need not be said."""
    assert parse_address("http://localhost:80/") == parse_address("tcp://localhost:80")
    assert parse_address("http://localhost") == parse_address("tcp://localhost:80")
    assert parse_address("https://localhost") == parse_address("https://localhost:443")


def test_what_an_address_is_called_in_requests() -> None:
    """Name and port; on a socket the name that Crush's client gives it (wire contract 1.2)."""
    assert parse_address("https://[::1]:8").authority == "[::1]:8"
    assert parse_address("unix:///s").authority == "api.crush.localhost"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:80",
        "unix://",
        "tcp://host",
        "tcp://:80",
        "tcp://h:x",
        "tcp://h:99999",
        "tcp://h:1/path",
        "http://h:1/v1",
        "https://h:1/?query",
        "http://user@h:1",
        "http://",
        "tcp://[::1",
        "npipe:////./pipe/x",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    """C4: the message has what was given."""
    with pytest.raises(BadRequestError) as refused:
        parse_address(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7"),
        ({"XDG_RUNTIME_DIR": "", "TMPDIR": "/var/tmp"}, "/var/tmp"),
        ({"XDG_RUNTIME_DIR": "/" + "x" * 120}, "/tmp"),
        ({}, "/tmp"),
    ],
)
def test_the_default_address_is_crushs(environ: dict[str, str], directory: str) -> None:
    """Server and client find it alone, and so does Crush's client (wire contract 10.3)."""
    assert default_address(environ).path == f"{directory}/crush-{os.getuid()}.sock"


def test_an_address_is_a_file_name() -> None:
    """Logs, locks and tokens are kept by address (wire contract 10.4)."""
    name = Address("tcp", host="::1", port=80).file_name
    assert name == "tcp______1__80"
    assert token_path(Address("tcp", host="::1", port=80)).name == name


def test_the_variable_outranks_the_token_file(tmp_path: Path) -> None:
    """A token from elsewhere is given in the environment."""
    address = Address("tcp", host=tmp_path.name, port=1)
    assert read_token(address, {"CRUSH_TRIO_TOKEN": "t"}) == "t"
    assert read_token(address, {}) is None
