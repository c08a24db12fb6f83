"""The ways into a server, decided before it listens: token, names, encryption (A1)."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import attrs
from hypercorn.typing import ASGIFramework

from crush_trio.addresses import Address
from crush_trio.errors import ConfigError
from crush_trio.server.access import (
    TokenGuard,
    certificate_paths,
    choose_token,
    published_token,
    token_paths,
)
from crush_trio.server.openapi.viewer import Viewer
from crush_trio.server.options import ServeOptions
from crush_trio.server.origins import OriginGuard, allowed_hosts
from crush_trio.server.publishing import published
from crush_trio.server.tls import Encryption, load_encryption, make_encryption

logger = logging.getLogger(__name__)


@attrs.frozen
class Doors:
    """Who may come in, and how. Use :func:`choose_doors`.

    Attributes:
        token: What every request must show; None if nothing.
        hosts: The names that are answered; None for all.
        encryption: None if there is none.
    """

    token: str | None = attrs.field(repr=False)
    hosts: frozenset[str] | None
    encryption: Encryption | None
    _options: ServeOptions

    def guard(self, app: ASGIFramework) -> ASGIFramework:
        """Return ``app`` behind these doors: nothing is told to whoever does not come through.

        But for the page that shows the routes, which holds nothing.
        """
        if self.token is not None:
            app = TokenGuard(app, self.token, self._options.settings)
        return OriginGuard(Viewer(app), self.hosts)

    @contextmanager
    def shown(self, bound: Address) -> Generator[None]:
        """Let this user's clients find the token and the certificate, until the block is left.

        Args:
            bound: The address with the port that it got.

        Raises:
            ConfigError: a file cannot be written.
        """
        options = self._options
        with ExitStack() as files:
            if self.token is not None:
                paths = token_paths(bound, options.env, token_file=options.token_file)
                files.enter_context(published_token(paths, self.token))
            elif bound.network == "tcp":
                logger.warning("%s lets everybody in who can reach it", bound)
            if self.encryption is not None and self.encryption.certificate:
                paths, text = certificate_paths(bound), self.encryption.certificate
                files.enter_context(published(paths, text, "certificate"))
            yield


def choose_doors(options: ServeOptions) -> Doors:
    """Return the doors that ``options`` ask for.

    Raises:
        ConfigError: they make no sense, or a file of theirs cannot be used.
        BadRequestError: a name to allow is none.
    """
    address = options.address
    if address.network == "unix" and (options.token_file or options.allow_hosts or options.tls):
        raise ConfigError(
            f"{address} is for its owner only: tokens, names and certificates are for TCP"
        )
    hosts = allowed_hosts(address, options.allow_hosts)
    token = choose_token(
        address, options.env, no_token=options.no_token, token_file=options.token_file
    )
    return Doors(token, hosts, _choose_encryption(options), options)


def _choose_encryption(options: ServeOptions) -> Encryption | None:
    if options.tls is None:
        if options.address.tls:
            raise ConfigError(
                f"{options.address} needs a certificate: "
                "give --tls-cert and --tls-key, or --tls-self-signed"
            )
        return None
    if options.tls == "self-signed":
        return make_encryption(options.address, options.allow_hosts)
    return load_encryption(options.tls)
