"""Logins at providers: their tokens are renewed here, for every program that uses them (3.9).

A renewal holds a lock file, so that of several servers, and Crush beside them, one renews: a refresh
token may be good for one use only. Whoever waited takes what the first one has stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from crush_trio.config import global_data_dir
from crush_trio.config.endpoint import expand_headers
from crush_trio.config.files import Source, read_document
from crush_trio.config.paths import config_home
from crush_trio.config.writing import locked
from crush_trio.errors import BadRequestError, ConfigError, CrushTrioError
from crush_trio.providers.tokens import COPILOT, LoginEndedError, TokenExchange, is_expired
from crush_trio.wire.config import Token
from crush_trio.wire.events import AgentEvent, Event
from crush_trio.workspaces.configured import GLOBAL_SCOPE, WORKSPACE_SCOPE, Configured

LOCK_TIMEOUT = 45.0
"""Seconds that another program's renewal is waited for (agent contract 3.9)."""

COPILOT_FILES = ("apps.json", "hosts.json")
"""Where GitHub's own editor plug-ins keep their login, below ``~/.config/github-copilot``."""

logger = logging.getLogger(__name__)


class Logins:
    """The logins of a workspace's providers.

    Args:
        configured: The workspace's configuration, where tokens are kept.
        exchange: Gives new tokens.
        env: The server's environment, which names the user's directories.
        publish: Tells clients of an event; sync.
        now: Unix seconds.
    """

    def __init__(
        self,
        configured: Configured,
        exchange: TokenExchange,
        env: Mapping[str, str],
        publish: Callable[[Event], object],
        now: Callable[[], float],
    ) -> None:
        self._configured = configured
        self._exchange = exchange
        self._env = env
        self._publish = publish
        self._now = now

    async def renew(self, provider_id: str, used: Token, scope: int = GLOBAL_SCOPE) -> Token:
        """Return a token that is newer than ``used``, and store it. Waits for the exchange.

        If somebody else has stored a newer one, it is that.

        Args:
            provider_id: Whose login it is.
            used: What was refused, or has expired.
            scope: Where a login is stored that the workspace's own file does not hold.

        Raises:
            LoginEndedError: somebody has to log in again; clients have been told.
            CrushTrioError: the token cannot be renewed or stored.
        """
        found: list[Token] = []

        async def work() -> None:
            found.append(await self._renew(provider_id, used, scope))

        await self._configured.carry_out(work)  # a refresh token that is used up must not get lost
        return found[0]

    async def _renew(self, provider_id: str, used: Token, scope: int) -> Token:
        path = global_data_dir(self._env) / "locks" / f"{_file_name(provider_id)}.refresh.lock"
        async with locked(path, LOCK_TIMEOUT):
            stored = self._stored(provider_id)
            if stored is not None and stored != used and not is_expired(stored, self._now()):
                await self._configured.follow()
                return stored
            try:
                token = await self._exchange(
                    provider_id, stored or used, self._headers(provider_id), self._now()
                )
            except LoginEndedError:
                told = AgentEvent(type="re_authenticate", provider_id=provider_id)
                self._publish(Event("agent_event", "created", told))
                raise
            await self._configured.store_key(self._scope(provider_id, scope), provider_id, token)
            return token

    async def renew_now(self, provider_id: str, scope: int) -> None:
        """Renew a token whether it has expired or not (R-53).

        Raises:
            BadRequestError: there is no such provider, or no login at it.
            CrushTrioError: the token cannot be renewed; the message says whose.
        """
        config = self._configured.current
        if provider_id not in config.providers:
            raise BadRequestError(f"provider {provider_id} not found")
        token = config.token(provider_id)
        if token is None:
            raise BadRequestError(f"provider {provider_id} does not have an OAuth token")
        try:
            await self.renew(provider_id, token, scope)
        except CrushTrioError as error:
            text = f"failed to refresh OAuth token for provider {provider_id}: {error}"
            raise CrushTrioError(text) from error

    async def import_copilot(self) -> Token | None:
        """Take over the login of an editor's Copilot, and store it (R-52); None if there is none."""
        config = self._configured.current
        found = self._copilot_login() if config.is_known(COPILOT) else ""
        if not found:
            return None
        try:
            token = await self._exchange(
                COPILOT, Token(refresh_token=found), self._headers(COPILOT), self._now()
            )
            await self._configured.store_key(GLOBAL_SCOPE, COPILOT, token)
        except CrushTrioError as error:
            logger.warning("the login of Copilot cannot be taken over: %s", error)
            return None
        return token

    # --- where logins are ------------------------------------------------------------------

    def _stored(self, provider_id: str) -> Token | None:
        """Return what the files say now, the workspace's before the user's."""
        for scope in (WORKSPACE_SCOPE, GLOBAL_SCOPE):
            token = self._in_file(scope, provider_id)
            if token is not None:
                return token
        return None

    def _scope(self, provider_id: str, wanted: int) -> int:
        """Return where a renewal counts: the workspace's file outranks the user's."""
        in_workspace = self._in_file(WORKSPACE_SCOPE, provider_id) is not None
        return WORKSPACE_SCOPE if in_workspace else wanted

    def _in_file(self, scope: int, provider_id: str) -> Token | None:
        try:
            value: Any = read_document(Source(self._configured.file(scope)))[0]
        except ConfigError:  # it is not in force either
            return None
        for key in ("providers", provider_id, "oauth"):
            value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
        try:
            return msgspec.convert(value, Token | None)
        except msgspec.ValidationError:
            return None

    def _headers(self, provider_id: str) -> dict[str, str]:
        """Return what a provider's requests carry beside its key."""
        config = self._configured.current
        provider = config.providers.get(provider_id)
        if provider is not None:
            return expand_headers(provider, config.env, config.findings.output)
        known = next((each for each in config.catalog if each.id == provider_id), None)
        return dict((known and known.default_headers) or {})

    def _copilot_login(self) -> str:
        """Return GitHub's token as an editor keeps it, or nothing."""
        for name in COPILOT_FILES:
            try:
                path = config_home(self._env) / "github-copilot" / name
                entries, _ = read_document(Source(path))
            except ConfigError:
                continue
            for key, entry in entries.items():
                members = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
                token = members.get("oauth_token")
                if key.partition(":")[0] == "github.com" and isinstance(token, str) and token:
                    return token
        return ""


def _file_name(provider_id: str) -> str:
    """Return a provider's id as a part of a file's name."""
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in provider_id)
