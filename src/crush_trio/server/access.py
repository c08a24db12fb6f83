"""Who gets in over TCP: whoever shows the token, which only the server's owner can read (A1).

A unix socket needs none: its file mode lets in nobody but its owner, and :mod:`.peers` looks once
more. Where the token's file lies is in :mod:`crush_trio.addresses`, since clients look there too.
"""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from ipaddress import ip_address
from pathlib import Path

import attrs
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    Scope,
)

from crush_trio.addresses import TOKEN_VARIABLE, Address, certificate_path, token_path
from crush_trio.errors import ConfigError, CrushTrioError, TooManyAttemptsError, UnauthorizedError
from crush_trio.server.attempts import Attempts
from crush_trio.server.publishing import published
from crush_trio.server.refusals import refuse
from crush_trio.settings import Settings

SHORT_TOKEN = 16
"""Characters below which a token might be guessed; those that we make have 43."""

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared only
"""Hosts to listen on that mean every address of this machine, and are no address themselves."""

logger = logging.getLogger(__name__)


def choose_token(
    address: Address,
    environ: Mapping[str, str] = os.environ,
    *,
    no_token: bool = False,
    token_file: Path | None = None,
) -> str | None:
    """Return the token that callers at ``address`` must show, or None if they need none.

    It is that of ``token_file``, else that of ``CRUSH_TRIO_TOKEN``, or else a new one.

    Raises:
        ConfigError: no token is wanted on an address that other machines can reach; the file
            cannot be read; or what is given cannot be sent in a header.
    """
    if address.network == "unix":
        return None
    if no_token:
        _require_loopback(address)
        return None
    if token_file is not None:
        return _checked(_read(token_file), f"token file {str(token_file)!r}")
    given = environ.get(TOKEN_VARIABLE)
    return _checked(given, TOKEN_VARIABLE) if given else secrets.token_urlsafe(32)


def _read(path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot read token file {str(path)!r}: {reason.lower()}") from None
    if not text:
        raise ConfigError(f"token file {str(path)!r} is empty")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("token file %r can be used by others: chmod 600 it", str(path))
    return text


def _checked(token: str, source: str) -> str:
    """Return a token that was given, if it can be sent."""
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ConfigError(f"{source} may hold visible ASCII characters only")
    if len(token) < SHORT_TOKEN:
        logger.warning("%s holds a token that is short enough to be guessed", source)
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``. Resolves nothing."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"  # listening makes sure that it is


def _require_loopback(address: Address) -> None:
    if not is_loopback(address.host):
        raise ConfigError(
            f"{address} can be reached from other machines and needs a token: "
            "drop --no-token, or listen on 127.0.0.1"
        )


def token_paths(
    bound: Address, environ: Mapping[str, str] = os.environ, *, token_file: Path | None = None
) -> frozenset[Path]:
    """Return the token's files: one for each way in which a client here may spell ``bound``.

    There are none if the environment gives the token: whoever set it can give it to clients too.
    A ``token_file`` is only the server's, so that clients find its token as they find a new one.
    """
    if environ.get(TOKEN_VARIABLE) and token_file is None:
        return frozenset()
    return frozenset(map(token_path, _spellings(bound)))


def certificate_paths(bound: Address) -> frozenset[Path]:
    """Return the files of a certificate made at the start, beside those of the token."""
    return frozenset(map(certificate_path, _spellings(bound)))


def _spellings(bound: Address) -> set[Address]:
    """Return the addresses by which a client on this machine may call ``bound``."""
    hosts = {bound.host}
    if is_loopback(bound.host) or bound.host in WILDCARDS:
        hosts |= {"localhost", "::1" if ":" in bound.host else "127.0.0.1"}
    return {attrs.evolve(bound, host=host) for host in hosts}


def published_token(paths: frozenset[Path], token: str) -> AbstractContextManager[None]:
    """Keep ``token`` in files for clients of the same user to find; leaving the block removes them.

    A file that another server has overwritten meanwhile is left alone.

    Raises:
        ConfigError: a file cannot be written.
    """
    return published(paths, token, "token")


class TokenGuard:
    """ASGI middleware: whoever does not show the token gets 401, before anything else happens.

    Whoever shows too many wrong ones gets 429 instead; the right one is always let in.
    """

    def __init__(self, app: ASGIFramework, token: str, settings: Settings | None = None) -> None:
        self._app = app
        self._expected = token.encode()
        self._attempts = Attempts(settings or Settings())

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": None})
        else:
            shown = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
            if self._lets_in(shown):
                await self._app(scope, receive, send)
            elif shown and (seconds := self._attempts.fail((scope["client"] or ("", 0))[0])):
                await refuse(_too_many(seconds), send, [(b"retry-after", str(seconds).encode())])
            else:
                await refuse(_unauthorized(), send, [(b"www-authenticate", b"Bearer")])

    def _lets_in(self, shown: list[bytes]) -> bool:
        if len(shown) != 1:
            return False
        scheme, _, credentials = shown[0].partition(b" ")
        # Compared in constant time: how long it takes tells nothing about the token.
        return scheme.lower() == b"bearer" and hmac.compare_digest(
            credentials.strip(), self._expected
        )


def _unauthorized() -> CrushTrioError:
    return UnauthorizedError(
        "this address asks for the header 'Authorization: Bearer TOKEN' with the right token"
    )


def _too_many(seconds: int) -> CrushTrioError:
    return TooManyAttemptsError(f"too many wrong tokens from there: try again in {seconds} s")
