"""Loading: files, merge, defaults, providers, models (agent contract 3.1 to 3.5, 3.8 and 3.10).

All of it is one synchronous step, so that a configuration is one consistent reading. What that step
lacks from outside it asks for, see :mod:`crush_trio.config.findings`. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import attrs
import msgspec
from msgspec.structs import replace

from crush_trio.config.catalog import known_providers
from crush_trio.config.configuration import Configuration, Kept
from crush_trio.config.defaults import with_defaults
from crush_trio.config.documents import Documents, checked
from crush_trio.config.entries import Entries, prepare
from crush_trio.config.environment import own_view, with_table
from crush_trio.config.files import FILE_NAME, Source, read, sources
from crush_trio.config.findings import Findings
from crush_trio.config.models import Chosen, chosen_now, select
from crush_trio.config.paths import Project, data_directory, find_project
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Provider, SelectedModel


def load(
    directory: Path,
    *,
    env: Mapping[str, str],
    data_dir: str = "",
    debug: bool = False,
    kept: Kept | None = None,
    findings: Findings | None = None,
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
        kept: What this process knows beside the files; nothing if None.
        findings: What is known from outside; None asks nobody, and then a command fails.

    Raises:
        ConfigError: a file cannot be read or is wrong, files contradict each other, or default
            providers are off and no other provider is usable.
        Needed: something must be found out first; never with ``findings`` None.
    """
    findings, kept = findings or Findings(asks=False), kept or Kept()
    project = find_project(directory)
    documents, place = _documents(project, env, data_dir)
    if _can_be_entered(place):  # else its opening says better what is wrong with it
        documents.add(place / FILE_NAME, read(Source(place / FILE_NAME)))
    config = checked(documents.config)
    full_env = with_table(env, config.env, findings.output)
    config = with_defaults(
        config,
        project,
        env,
        data_dir=place,
        debug=debug,
        limits_completions=kept.limits_completions,
    )
    options = config.given_options
    catalog = known_providers(env, cached=not options.disable_provider_auto_update)
    known = () if options.disable_default_providers else catalog
    assert config.providers is not msgspec.UNSET
    entries = prepare(config.providers, own_view(full_env), known=known, findings=findings)
    if options.disable_default_providers and not entries.kept:
        raise _nothing_left(entries)
    named = {*config.providers, *(each.id for each in catalog)}
    config = replace(config, providers=entries.kept)
    loaded = Configuration(config, place, env=full_env, catalog=catalog, findings=findings)
    gone = {kind for kind, wanted in config.models.items() if _is_gone(wanted, entries, named)}
    return _corrected(_choose(loaded, entries, known, kept.models), gone - kept.models.keys())


def find_data_directory(directory: Path, *, env: Mapping[str, str], data_dir: str = "") -> Path:
    """Return where a working directory's data is; nothing in the configuration is expanded.

    Args:
        directory: The working directory.
        env: As for :func:`load`.
        data_dir: As for :func:`load`.

    Raises:
        ConfigError: a file cannot be read or is wrong.
    """
    return _documents(find_project(directory), env, data_dir)[1]


def _documents(project: Project, env: Mapping[str, str], data_dir: str) -> tuple[Documents, Path]:
    """Return the files that say where the data directory is, and the place."""
    documents = Documents()
    for source in sources(project, env):
        documents.add(source.path, read(source))
    given = documents.config.given_options.data_directory
    option = "" if given is msgspec.UNSET else given
    return documents, data_directory(project, argument=data_dir, option=option)


def _can_be_entered(directory: Path) -> bool:
    try:
        directory.stat()
    except (OSError, ValueError):
        return False
    return True


def _nothing_left(entries: Entries) -> ConfigError:
    """Return the refusal of a configuration without any provider (probe: no-providers-at-all)."""
    why = "; ".join(["no other provider is configured", *entries.dropped.values()])
    return ConfigError(f"default providers are disabled (disable_default_providers), and {why}")


def _choose(
    loaded: Configuration,
    entries: Entries,
    known: Iterable[Provider],
    choices: Mapping[str, SelectedModel],
) -> Configuration:
    """Return the configuration with its models, and with the reason if they cannot be used."""
    wire = loaded.wire
    models = select(loaded.providers, wire.models, known)
    if models is None:
        wire = replace(wire, models={**wire.models, **choices})
        return attrs.evolve(loaded, wire=wire, problem="; ".join(entries.dropped.values()) or None)
    kinds: dict[str, Chosen | None] = {"large": models[0], "small": models[1]}
    selected = {kind: chosen.selected for kind, chosen in zip(kinds, models, strict=True)}
    problems: list[str] = []
    for kind in kinds.keys() & choices.keys():
        kinds[kind], problem = chosen_now(loaded.providers, choices[kind])
        problems += [f"{kind} model: {problem}"] if problem else []
    wire = replace(wire, models={**wire.models, **selected, **choices})
    loaded = attrs.evolve(loaded, wire=wire, large=kinds["large"], small=kinds["small"])
    return attrs.evolve(loaded, problem="; ".join(problems) or _problem(loaded))


def _is_gone(wanted: SelectedModel, entries: Entries, named: Collection[str]) -> bool:
    """Whether a configured model certainly does not exist, and not only today.

    A provider that is named somewhere and does not count (no key, switched off, unreachable) may
    count tomorrow, and then the choice is right again.
    """
    provider = entries.kept.get(wanted.provider)
    if provider is None:
        return bool(wanted.provider) and wanted.provider not in named
    known = {model.id for model in provider.models}
    return bool(wanted.model) and wanted.model not in known and provider.id not in entries.unsure


def _corrected(loaded: Configuration, gone: Collection[str]) -> Configuration:
    """Return the configuration with what is in force instead of the models that do not exist."""
    chosen = {"large": loaded.large, "small": loaded.small}
    instead = {kind: model.selected for kind, model in chosen.items() if model and kind in gone}
    return attrs.evolve(loaded, corrections=instead)


def _problem(loaded: Configuration) -> str | None:
    """Return why the large model cannot be reached; the small one can be done without."""
    assert loaded.large is not None
    try:
        loaded.endpoint(loaded.large.provider_id)
    except ConfigError as error:
        return str(error)
    return None
