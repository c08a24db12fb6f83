"""The outside world as a configuration needs it: shell commands, and endpoints that list models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import attrs

from crush_trio.config import Endpoint
from crush_trio.errors import ConfigError
from crush_trio.providers.discovery import list_models
from crush_trio.settings import Settings
from crush_trio.tools.capture import Capture
from crush_trio.tools.processes import Shell, quiet_environment
from crush_trio.wire.config import Model

OUTPUT_LIMIT = 2**20
"""Bytes that a command in a value may print: keys and headers are much shorter."""


ModelLister = Callable[[Endpoint], Awaitable[tuple[Model, ...]]]
"""Asks an endpoint which models it has; raises ``CrushTrioError`` if it does not say."""


async def list_models_of(endpoint: Endpoint) -> tuple[Model, ...]:
    """Ask an endpoint which models it has, by HTTP; see :func:`list_models`."""
    return await list_models(
        endpoint.provider_id,
        endpoint.base_url,
        endpoint.api_key,
        endpoint.headers,
        endpoint.type,
    )


@attrs.frozen
class ShellAndModels:
    """The seam of a configuration to the outside, made of those that a server has anyway."""

    _shell: Shell
    _list_models: ModelLister
    _settings: Settings

    async def run(self, command: str, *, env: Mapping[str, str], working_dir: Path) -> str:
        """See :class:`~crush_trio.config.Outside`."""
        out, err = Capture(OUTPUT_LIMIT), Capture(1)
        try:
            status = await self._shell(
                command,
                working_dir=str(working_dir),
                env=quiet_environment(env),
                stdout=out,
                stderr=err,
                grace=self._settings.kill_grace,
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"the command cannot be started: {error}") from error
        if status != 0:
            raise ConfigError(f"the command failed with exit status {status}")
        printed = out.text()
        if printed.lost_lines is not None or len(printed.head) > OUTPUT_LIMIT:
            raise ConfigError(f"the command printed more than {OUTPUT_LIMIT} bytes")
        return printed.head.rstrip("\n")

    async def models(self, endpoint: Endpoint) -> tuple[Model, ...]:
        """See :class:`~crush_trio.config.Outside`."""
        return await self._list_models(endpoint)
