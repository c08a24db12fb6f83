"""What the server lends every workspace: the seams that have twins in the testing kit."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs

from crush_trio.agent.home import EmbeddedModel
from crush_trio.agent.providers import ProviderOpener
from crush_trio.config import ConfigReader, Outside, load
from crush_trio.observer import SILENT, Observer
from crush_trio.providers.tokens import TokenExchange, exchange_token
from crush_trio.settings import Settings
from crush_trio.tools.base import Tool
from crush_trio.tools.processes import Shell, run_shell
from crush_trio.workspaces.outside import ModelLister, ShellAndModels, list_models_of


@attrs.frozen
class Equipment:
    """What the server lends every workspace: seams with their twins (architecture 6).

    Attributes:
        now: Unix seconds.
        shell: Runs the commands of tools.
        read_config: Reads a directory's configuration; see :func:`crush_trio.config.load`.
        tools: What models may call beside the built-in tools; one of the same name takes its place.
        list_models: Asks a provider's endpoint which models it has.
        exchange_token: Gives a new token for an old one.
        remember: Notes that a directory is worked in, with its data directory; None forgets it.
    """

    open_provider: ProviderOpener
    embedded: EmbeddedModel | None = None
    settings: Settings = attrs.field(factory=Settings)
    now: Callable[[], float] = time.time
    shell: Shell = run_shell
    read_config: ConfigReader = load
    tools: tuple[Tool, ...] = ()
    observer: Observer = SILENT
    list_models: ModelLister = list_models_of
    exchange_token: TokenExchange = exchange_token
    remember: Callable[[Path, Path], Awaitable[None]] | None = None

    @property
    def outside(self) -> Outside:
        """The outside world that configurations are resolved with."""
        return ShellAndModels(self.shell, self.list_models, self.settings)
