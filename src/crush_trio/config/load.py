"""Loading: files, merge, defaults, providers, models (agent contract 3.1 to 3.4, 3.8 and 3.10).

Read so far: the user's file, the program's file and the project's files, as JSON. Nothing is
written, fetched or run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
from msgspec.structs import replace

from crush_trio.config.configuration import Configuration
from crush_trio.config.defaults import with_defaults
from crush_trio.config.entries import Entries, prepare
from crush_trio.config.environment import own_view, with_table
from crush_trio.config.files import Source, decode, read, sources
from crush_trio.config.merge import merge
from crush_trio.config.models import Chosen, select
from crush_trio.config.paths import Project, data_directory, find_project
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Config


def load(
    directory: Path, *, env: Mapping[str, str], data_dir: str = "", debug: bool = False
) -> Configuration:
    """Return the configuration of a working directory. Not a checkpoint; reads a few small files.

    Args:
        directory: The working directory; it need not exist. Symlinks are not resolved, so pass the
            spelling that identifies the workspace.
        env: The environment that names the global directories and gives the values of variables.
            Crush takes that of its *server process*, not the one that a client sends when it
            creates a workspace: its recorded answer to a client that sent only ``A`` and ``B``
            still names files below ``$HOME``. So the server passes its own environment here.
        data_dir: The caller's data directory, before all others; may be relative to ``directory``.
        debug: Turn ``options.debug`` on whatever the files say.

    Raises:
        ConfigError: a file cannot be read or is wrong, files contradict each other, or default
            providers are off and no other provider is usable.
    """
    project = find_project(directory)
    config = _merged(sources(project, env))
    full_env = with_table(env, config.env)
    place = _data_directory(project, config, data_dir)
    config = with_defaults(config, project, env, data_dir=place, debug=debug)
    assert config.providers is not msgspec.UNSET
    entries = prepare(config.providers, own_view(full_env))
    config = replace(config, providers=entries.kept)
    _check_any(config, entries)
    return _choose(Configuration(config, place, env=full_env), entries)


def _merged(found: list[Source]) -> Config:
    document: dict[str, Any] = {}
    for source in found:
        later = read(source)
        try:
            document = merge(document, later)
        except ConfigError as error:
            raise ConfigError(f"{source.path}: {error}") from error
    return decode(document)


def _data_directory(project: Project, config: Config, argument: str) -> Path:
    options = config.options
    option = "" if options is msgspec.UNSET else options.data_directory
    return data_directory(
        project, argument=argument, option="" if option is msgspec.UNSET else option
    )


def _check_any(config: Config, entries: Entries) -> None:
    """Refuse a configuration that switches all providers off (probe: no-providers-at-all)."""
    assert config.options is not msgspec.UNSET
    if config.options.disable_default_providers and not entries.kept:
        why = "; ".join(["no other provider is configured", *entries.dropped.values()])
        raise ConfigError(f"default providers are disabled (disable_default_providers), and {why}")


def _choose(loaded: Configuration, entries: Entries) -> Configuration:
    """Return the configuration with its models, and with the reason if they cannot be used."""
    models = select(loaded.providers, loaded.wire.models)
    if models is None:
        return attrs.evolve(loaded, problem="; ".join(entries.dropped.values()) or None)
    large, small = models
    selected = {**loaded.wire.models, "large": large.selected, "small": small.selected}
    wire = replace(loaded.wire, models=selected)
    return attrs.evolve(
        loaded, wire=wire, large=large, small=small, problem=_problem(loaded, large)
    )


def _problem(loaded: Configuration, large: Chosen) -> str | None:
    """Return why the large model cannot be reached; the small one can be done without."""
    try:
        loaded.endpoint(large.provider_id)
    except ConfigError as error:
        return str(error)
    return None
