"""The catalogue: well-known providers, where they are and what their models can and cost.

It comes with this package as data (``catalog.json``, which says where its facts are from and of
which day). Crush fetches a newer one from time to time and keeps it beside its own data; where
there is such a file it is used, so that both programs know the same models. Nothing is fetched
here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from crush_trio.config.paths import home
from crush_trio.wire.config import Provider

CACHE_NAME = "providers.json"
"""Name of the catalogue that Crush has fetched (agent contract 3.5)."""

TYPES = frozenset(
    {
        "openai",
        "openai-compat",
        "openrouter",
        "vercel",
        "anthropic",
        "google",
        "azure",
        "bedrock",
        "google-vertex",
        "hyper",
        "litellm",
        "llamacpp",
        "lmstudio",
        "ollama",
        "omlx",
    }
)
"""Types that a provider may have (agent contract 3.4); not all of them can be used yet."""

_log = logging.getLogger(__name__)


class Catalog(msgspec.Struct, frozen=True):
    """The embedded catalogue.

    Attributes:
        source: Where the facts are from.
        date: The day on which they were collected, as ``YYYY-MM-DD``.
        providers: In the order in which a default is looked for.
    """

    source: str
    date: str
    providers: tuple[Provider, ...]


def embedded_catalog() -> Catalog:
    """Return the catalogue that comes with this package."""
    raw = Path(__file__).with_name("catalog.json").read_bytes()
    return msgspec.json.decode(raw, type=Catalog)


def known_providers(env: Mapping[str, str], *, cached: bool = True) -> tuple[Provider, ...]:
    """Return the well-known providers: those that Crush has fetched, else the embedded ones.

    Args:
        env: Names the user's directories.
        cached: Whether what Crush has fetched counts; not with its auto-update switched off.
    """
    found = _cached(_cache_path(env)) if cached else ()
    return found or embedded_catalog().providers


def _cache_path(env: Mapping[str, str]) -> Path:
    """Return where Crush keeps what it fetched; ``CRUSH_GLOBAL_DATA`` does not count here."""
    shared = env.get("XDG_DATA_HOME")
    return (Path(shared) if shared else home(env) / ".local" / "share") / "crush" / CACHE_NAME


def _cached(path: Path) -> tuple[Provider, ...]:
    """Return the providers of a fetched catalogue that can be understood; nothing without one."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[Provider])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        _log.warning("the catalogue in %s is ignored: %s", path, error)
        return ()
    return tuple(each for each in found if each.id and each.models and each.type in TYPES)
