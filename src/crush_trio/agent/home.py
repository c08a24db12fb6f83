"""What an agent is lent by the workspace that it belongs to."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs

from crush_trio.agent.histories import Histories
from crush_trio.agent.providers import Providers
from crush_trio.config import Chosen, Configuration, Endpoint
from crush_trio.messages import Prompt
from crush_trio.providers.base import Provider
from crush_trio.settings import Settings
from crush_trio.store import Store
from crush_trio.tools.base import Surroundings, Tool


@attrs.frozen
class EmbeddedModel:
    """The model that needs no key, as the agent uses it (wire contract 0, R-36).

    Attributes:
        chosen: Names it on messages.
        provider: Where it runs; started at its first use. It brings its own prompt, and cuts a
            conversation to its window.
    """

    chosen: Chosen
    provider: Provider


@attrs.frozen
class Home:
    """Where an agent lives: what its workspace lends it.

    Attributes:
        directory: The workspace's directory, resolved.
        surroundings: What tools get now; sync.
        start: Starts work that is the workspace's and claims it for a bounded time; sync.
        fold: Takes the prompts that join a session's active turn; sync.
        now: Unix seconds.
        tools: What models may call beside the built-in tools.
        skills: What models are told of skills; empty if there are none.
        renew: Renews the login at a provider, or runs the commands in its entry again, and returns
            its endpoint; None where that cannot be done.
    """

    directory: Path
    store: Store
    histories: Histories
    surroundings: Callable[[], Surroundings]
    providers: Providers
    start: Callable[[Callable[[], Awaitable[None]], str], None]
    fold: Callable[[str], Sequence[Prompt]]
    embedded: EmbeddedModel | None = None
    settings: Settings = attrs.field(factory=Settings)
    now: Callable[[], float] = time.time
    tools: tuple[Tool, ...] = ()
    skills: str = ""
    renew: Callable[[Configuration, str], Awaitable[Endpoint]] | None = None
