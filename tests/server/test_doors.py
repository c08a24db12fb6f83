"""The ways in that a server is given, and combinations that make none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crush_trio.addresses import parse_address
from crush_trio.errors import BadRequestError
from crush_trio.server import CertificateFiles, ServeOptions
from crush_trio.server.doors import choose_doors

FILE = Path(__file__)
"""A file that is there."""


def options(address: str, **given: Any) -> ServeOptions:
    return ServeOptions(parse_address(address), env={}, **given)


@pytest.mark.parametrize(
    ("address", "given", "told"),
    [
        ("https://localhost:0", {}, "https://localhost:0 needs a certificate: give --tls-cert"),
        ("tcp://localhost:0", {"tls": CertificateFiles(FILE)}, "cannot use certificate .*test_doo"),
        ("tcp://localhost:0", {"allow_hosts": ("a:1",)}, "host 'a:1' is not a name"),
        ("tcp://0.0.0.0:0", {"no_token": True}, "needs a token"),
        ("unix:///s", {"allow_hosts": ("a",)}, "unix:///s is for its owner only"),
        ("unix:///s", {"token_file": FILE}, "unix:///s is for its owner only"),
        ("unix:///s", {"tls": "self-signed"}, "unix:///s is for its owner only"),
    ],
)
def test_a_server_that_cannot_be_what_it_is_asked_to_be_is_an_error(
    address: str, given: dict[str, Any], told: str
) -> None:
    """C4: before anything listens; the message names the value."""
    with pytest.raises(BadRequestError, match=told):
        choose_doors(options(address, **given))


def test_a_socket_asks_for_nothing_but_its_owner() -> None:
    """Neither token nor name."""
    doors = choose_doors(options("unix:///s"))
    assert (doors.token, doors.hosts, doors.encryption) == (None, None, None)


def test_over_tcp_there_is_a_token_and_a_list_of_names() -> None:
    """Encrypted or not; ``tcp://`` with a certificate is the same as ``https://``."""
    for address, tls in (("tcp://box:0", None), ("https://box:0", "self-signed")):
        doors = choose_doors(options(address, tls=tls, allow_hosts=("other",)))
        assert doors.token is not None
        assert doors.hosts == {"box", "other", "api.crush.localhost"}
        assert (doors.encryption is not None) == (tls is not None)
