"""What a server is started with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs

from crush_trio.addresses import Address
from crush_trio.server.tls import CertificateFiles
from crush_trio.settings import Settings


@attrs.frozen
class ServeOptions:
    """What a server is started with.

    Attributes:
        no_token: Let everybody in, on a loopback TCP address only.
        idle_exit: Seconds without an open workspace after which the server stops; None for never.
        token_file: Holds the token; None for the environment's or a new one.
        allow_hosts: Names by which it may be called over TCP, beside those of this machine.
        pretend_crush: A program of Crush whose version the server says it has.
        tls: Encrypts TCP: with a certificate that is given, or ``self-signed`` with a new one.
        monitor: Check the promises while it serves, and log what breaks one.
    """

    address: Address
    no_token: bool = False
    idle_exit: float | None = None
    debug: bool = False
    settings: Settings = attrs.field(factory=Settings)
    env: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False)
    token_file: Path | None = None
    allow_hosts: tuple[str, ...] = ()
    pretend_crush: Path | None = None
    tls: CertificateFiles | Literal["self-signed"] | None = None
    monitor: bool = False
