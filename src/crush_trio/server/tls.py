"""Encryption of TCP connections: with a certificate that was given, or with one made at the start.

The one that is made names this machine and lives as long as the server. Its key is in memory only,
once OpenSSL has read it from a file; the certificate lies beside the token, where this user's
clients find it and trust it.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path

import attrs

from crush_trio.addresses import UNIX_HOST, Address
from crush_trio.errors import ConfigError
from crush_trio.server.access import WILDCARDS
from crush_trio.server.publishing import write_private

PROTOCOLS = ("h2", "http/1.1")
"""What is offered by ALPN; a client that asks for neither gets HTTP/1.1."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: the ones that HTTP/2 does not forbid (RFC 9113, appendix A)."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1", UNIX_HOST)


@attrs.frozen
class CertificateFiles:
    """A certificate of the server's own, in PEM.

    Attributes:
        certificate: The certificate, and those that lead from it to a known one.
        key: Its private key, without a password; None if that is in the same file.
    """

    certificate: Path
    key: Path | None = None


@attrs.frozen
class Encryption:
    """What a server encrypts with.

    Attributes:
        context: Offers HTTP/2 and HTTP/1.1.
        certificate: The certificate in PEM if it was made for this server, for clients to trust.
    """

    context: ssl.SSLContext
    certificate: str = ""


def load_encryption(files: CertificateFiles) -> Encryption:
    """Return the encryption with a certificate that was given.

    Raises:
        ConfigError: it cannot be used; the message says which file and why.
    """
    context = _context()
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        names = " and ".join(repr(str(name)) for name in attrs.astuple(files) if name)
        raise ConfigError(f"cannot use certificate {names}: {_reason(error)}") from None
    return Encryption(context)


def make_encryption(address: Address, names: Iterable[str] = ()) -> Encryption:
    """Return the encryption with a new certificate for ``address``, this machine and ``names``.

    Raises:
        ConfigError: the library that makes it is not installed.
    """
    try:
        from crush_trio.server.certificates import make_certificate  # noqa: PLC0415  slow, optional
    except ImportError as error:
        raise ConfigError(
            "a certificate can be made only with the package cryptography: "
            "install it with: pip install 'crush-trio[tls]'"
        ) from error
    own = () if address.host in WILDCARDS else (address.host,)
    certificate, key = make_certificate(dict.fromkeys([*_LOOPBACK, *own, *names]))
    context = _context()
    with tempfile.TemporaryDirectory() as directory:  # a context loads files only
        path = Path(directory) / "pem"
        write_private(path, key + certificate, "certificate")
        context.load_cert_chain(path)
    return Encryption(context, certificate)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could ask for work without end
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(list(PROTOCOLS))
    return context


def _no_password() -> str:
    """Stand in for OpenSSL's question, which would wait at a terminal."""
    raise ValueError("its key has a password; give one without")


def _reason(error: Exception) -> str:
    if not isinstance(error, ssl.SSLError):
        return (getattr(error, "strerror", None) or str(error)).lower()
    if error.reason in {None, "PEM_LIB", "NO_START_LINE"}:
        return "it is not in PEM"
    return error.reason.replace("_", " ").lower()
