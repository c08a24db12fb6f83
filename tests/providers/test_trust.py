"""Authorities that are read late are the system's all the same."""

from __future__ import annotations

import ssl

import httpx2

from crush_trio.providers.trust import LateTrust


def handshake(context: ssl.SSLContext) -> ssl.SSLObject:
    return context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="model.example")


def test_a_handshake_trusts_what_the_system_trusts_and_asks_for_the_name() -> None:
    """A redirect from a plain address to TLS is checked as any other connection is."""
    context = handshake(LateTrust(ssl.PROTOCOL_TLS_CLIENT)).context
    assert context.cert_store_stats() == httpx2.create_ssl_context().cert_store_stats()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_authorities_are_read_once_and_not_before_the_first_handshake() -> None:
    """Reading them blocks, so it must not happen for each connection, nor where it is not needed."""
    late = LateTrust(ssl.PROTOCOL_TLS_CLIENT)
    assert late.cert_store_stats()["x509"] == 0
    assert handshake(late).context is handshake(late).context
