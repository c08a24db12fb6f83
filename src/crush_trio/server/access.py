"""Who gets in over TCP: a token, made at the start, that only the server's owner can read (A1).

A unix socket needs none: its file mode lets in nobody but its owner. Where the token's file lies
is in :mod:`crush_trio.addresses`, since clients look there too.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import attrs
import msgspec
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from crush_trio.addresses import TOKEN_VARIABLE, Address, token_path
from crush_trio.errors import ConfigError, UnauthorizedError
from crush_trio.wire.workspaces import ErrorBody


def choose_token(
    address: Address, environ: Mapping[str, str] = os.environ, *, no_token: bool = False
) -> str | None:
    """Return the token that callers at ``address`` must show, or None if they need none.

    It is that of ``CRUSH_TRIO_TOKEN``, or else a new one.

    Raises:
        ConfigError: no token is wanted on an address that other machines can reach, or the
            variable holds something that cannot be sent in a header.
    """
    if address.network == "unix":
        return None
    if no_token:
        _require_loopback(address)
        return None
    given = environ.get(TOKEN_VARIABLE)
    if not given:
        return secrets.token_urlsafe(32)
    if not (given.isascii() and given.isprintable()) or " " in given:
        raise ConfigError(f"{TOKEN_VARIABLE} may hold visible ASCII characters only")
    return given


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


def token_paths(bound: Address, environ: Mapping[str, str] = os.environ) -> frozenset[Path]:
    """Return the token's files: one for each way in which a client here may spell ``bound``.

    There are none if the environment gives the token: whoever set it can give it to clients too.
    """
    if environ.get(TOKEN_VARIABLE):
        return frozenset()
    hosts = {bound.host}
    if is_loopback(bound.host) or bound.host in {"0.0.0.0", "::"}:  # noqa: S104  compared only
        hosts |= {"localhost", "::1" if ":" in bound.host else "127.0.0.1"}
    return frozenset(token_path(attrs.evolve(bound, host=host)) for host in hosts)


@contextmanager
def published_token(paths: frozenset[Path], token: str) -> Generator[None]:
    """Keep ``token`` in files for clients of the same user to find; leaving the block removes them.

    A file that another server has overwritten meanwhile is left alone.

    Raises:
        ConfigError: a file cannot be written.
    """
    try:
        for path in paths:
            write_token(path, token)
        yield
    finally:
        for path in paths:
            with suppress(OSError):
                if path.read_text("utf-8") == token:
                    path.unlink()


def write_token(path: Path, token: str) -> None:
    """Write a token file that only its owner can read, at no moment less private than that.

    Raises:
        ConfigError: it cannot be written.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
        fresh.replace(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot write the token file {str(path)!r}: {reason}") from error


class TokenGuard:
    """ASGI middleware: whoever does not show the token gets 401, before anything else happens."""

    def __init__(self, app: ASGIFramework, token: str) -> None:
        self._app = app
        self._expected = token.encode()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": None})
        elif self._lets_in(scope):
            await self._app(scope, receive, send)
        else:
            await _refuse(send)

    def _lets_in(self, scope: HTTPScope) -> bool:
        shown = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        if len(shown) != 1:
            return False
        scheme, _, credentials = shown[0].partition(b" ")
        # Compared in constant time: how long it takes tells nothing about the token.
        return scheme.lower() == b"bearer" and hmac.compare_digest(
            credentials.strip(), self._expected
        )


async def _refuse(send: ASGISendCallable) -> None:
    error = UnauthorizedError(
        "this address asks for the header 'Authorization: Bearer TOKEN' with the right token"
    )
    body = msgspec.json.encode(ErrorBody(str(error))) + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
