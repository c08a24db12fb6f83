"""Where servers are: how addresses are spelled, which is the default, where token and certificate lie.

Server and client both import this, so that they agree without importing each other. It only names
places: nothing here binds, connects or writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import attrs
import platformdirs

from crush_trio.errors import BadRequestError

TOKEN_VARIABLE = "CRUSH_TRIO_TOKEN"  # noqa: S105  the variable's name
"""Environment variable with the token for TCP addresses; it outranks the token file."""

CA_VARIABLE = "CRUSH_TRIO_TLS_CA"
"""Environment variable with the file of certificates that clients trust, as ``--tls-ca``."""

UNIX_HOST = "api.crush.localhost"
"""The ``Host`` header where there is no host (wire contract 1.2)."""

PORTS = {"http": 80, "https": 443}
"""The ports that URLs need not name."""

MAX_SOCKET_PATH = 104
"""Bytes that a default socket path may have on every system (wire contract 10.3)."""


@attrs.frozen
class Address:
    """The place of one server: a socket file, or a host and a port.

    Attributes:
        path: The socket file; empty for ``tcp``.
        host: A name or an IP address without brackets; empty for ``unix``.
        port: 0 lets a listener choose.
        tls: Whether the connection is encrypted.
        ca: The file of the certificates that a client trusts; empty for the usual ones.
    """

    network: Literal["unix", "tcp"]
    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    ca: str = attrs.field(default="", eq=False)

    def __str__(self) -> str:
        if self.network == "unix":
            return f"unix://{self.path}"
        return f"{'https' if self.tls else 'tcp'}://{self.authority}"

    @property
    def authority(self) -> str:
        """What a request at this address has as its ``Host``."""
        if self.network == "unix":
            return UNIX_HOST
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def file_name(self) -> str:
        """The address as part of a file name (wire contract 10.4)."""
        return re.sub(r"[^a-zA-Z0-9._-]", "_", str(self))


def parse_address(text: str) -> Address:
    """Return the address that a text names.

    That is ``unix:///path``, ``tcp://host:port``, or ``https://host:port`` for an encrypted
    connection. ``http://`` is another way to say ``tcp://``.

    Raises:
        BadRequestError: it is none of them.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix" and rest:
        return Address("unix", path=rest)
    if separator and scheme in {"tcp", *PORTS}:
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise BadRequestError(f"address {text!r}: {error}") from None
        port = PORTS.get(scheme) if port is None else port
        bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        if host and port is not None and bare:
            return Address("tcp", host=host, port=port, tls=scheme == "https")
    raise BadRequestError(
        f"address {text!r} is not of the form unix:///path/to.sock, tcp://host:port or "
        "https://host:port"
    )


def default_address(environ: Mapping[str, str] = os.environ) -> Address:
    """Return where a server listens and a client looks, if nobody says otherwise (wire contract 10.3)."""
    name = f"crush-{os.getuid()}.sock"
    directory = environ.get("XDG_RUNTIME_DIR") or environ.get("TMPDIR") or "/tmp"  # noqa: S108
    path = f"{directory}/{name}"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        path = f"/tmp/{name}"  # noqa: S108  the contract's fall-back
    return Address("unix", path=path)


def token_path(address: Address) -> Path:
    """Return the file that holds the token of a TCP address, readable by its owner only."""
    return platformdirs.user_state_path("crush-trio") / "tokens" / address.file_name


def certificate_path(address: Address) -> Path:
    """Return the file that holds the certificate which a server at a TCP address has made."""
    path = token_path(address)
    return path.with_name(f"{path.name}.pem")


def read_token(address: Address, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the token for an address: the variable's, else the file's, else None."""
    if token := environ.get(TOKEN_VARIABLE):
        return token
    try:
        return token_path(address).read_text("utf-8").strip() or None
    except OSError:
        return None
