"""Where a provider is and how a request proves itself there, with its secrets kept in (A2)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from urllib.parse import unquote, urlsplit, urlunsplit

import attrs

from crush_trio.errors import ConfigError, ProviderError

_SECRET_WORDS = ("auth", "key", "token", "secret", "cookie")
_SHORTEST_SECRET = 6


@attrs.frozen
class Endpoint:
    """An address and the headers of every request to it.

    Attributes:
        name: The provider's id.
        base_url: The address without credentials.
        headers: By lower-case name; they hold the credentials.
    """

    name: str
    base_url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    _secrets: tuple[str, ...] = attrs.field(repr=False)

    @classmethod
    def of(cls, name: str, base_url: str, api_key: str, headers: Mapping[str, str]) -> Endpoint:
        """Return the endpoint for these settings.

        Raises:
            ConfigError: one of them cannot be used. A secret is not in the message.
        """
        url, credentials = _split(name, base_url)
        sent = {"user-agent": f"crush-trio/{version('crush-trio')}"}
        if credentials:
            sent["authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
        if api_key.strip():
            sent["authorization"] = f"Bearer {api_key.strip()}"
        sent.update({key.lower(): value.strip() for key, value in headers.items()})
        for key, value in sent.items():
            if not (value.isascii() and value.isprintable()):
                # A transport would quote the value in its own error.
                what = "api_key" if key in {"authorization", "x-api-key"} else f"header {key!r}"
                raise ConfigError(
                    f"{what} of provider {name!r} holds characters that no header can"
                )
        return cls(name, url, sent, tuple(_secrets(api_key.strip(), credentials, sent)))

    @property
    def shown_url(self) -> str:
        """The address as errors show it."""
        return self.base_url.split("?", 1)[0]

    @property
    def is_local(self) -> bool:
        """Whether the address is this machine's own."""
        host = urlsplit(self.base_url).hostname or ""
        return host in {"localhost", "::1"} or host.startswith("127.")

    @property
    def has_tls(self) -> bool:
        """Whether the connection begins with a TLS handshake."""
        return self.base_url.startswith("https:")

    def clean(self, text: str) -> str:
        """Return ``text`` without the secrets that it may quote."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def cleaned(self, error: ProviderError) -> ProviderError:
        """Return ``error``, or its like without the secrets."""
        message = self.clean(str(error))
        if message == str(error):
            return error
        return ProviderError(
            message,
            title=error.title,
            http_status=error.http_status,
            retryable=error.retryable,
            retry_after=error.retry_after,
        )


def _split(name: str, base_url: str) -> tuple[str, str]:
    """Return an address and the credentials that were in it."""
    try:
        parts = urlsplit(base_url.strip())
        _ = parts.port  # looked at here, so that nobody trips over it later
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = base_url.rsplit("@", 1)[-1]
        raise ConfigError(
            f"base_url {shown!r} of provider {name!r} is no http or https address with a host"
        )
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host, fragment="")), unquote(user) if at else ""


def _secrets(api_key: str, credentials: str, headers: Mapping[str, str]) -> Iterator[str]:
    found = {api_key, credentials, credentials.partition(":")[2]}
    for name, value in headers.items():
        if any(word in name for word in _SECRET_WORDS):
            found |= {value, value.rpartition(" ")[2]}
    # A shorter one would blot out ordinary words. The longest first: one may hold another.
    yield from sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)
