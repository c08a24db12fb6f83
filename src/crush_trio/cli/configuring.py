"""What the commands do that look after the configuration: they read and write files, no server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from crush_trio.cli.exits import ExitCode
from crush_trio.cli.output import printable
from crush_trio.config import Configuration, global_data_dir, resolve
from crush_trio.config.files import FILE_NAME, decode, sources
from crush_trio.config.keys import drop, parse_key, put
from crush_trio.config.paths import find_project
from crush_trio.config.projects import read_projects
from crush_trio.config.writing import edit
from crush_trio.errors import BadRequestError
from crush_trio.settings import Settings
from crush_trio.tools.processes import run_shell
from crush_trio.workspaces.outside import ShellAndModels, list_models_of

Env = Mapping[str, str]
"""The environment that names the directories of the user."""


async def read_config(cwd: str, env: Env) -> Configuration:
    """Return the configuration of a directory, as a server that starts now would have it.

    Raises:
        ConfigError: it makes no sense.
    """
    outside = ShellAndModels(run_shell, list_models_of, Settings())
    return await resolve(outside, Path(cwd), env=dict(env))


# --- config ---------------------------------------------------------------------------------


async def show_value(cwd: str, key: str | None, env: Env = os.environ) -> ExitCode:
    """Print a value of the configuration, or all of it: a text as it is, anything else as JSON.

    Raises:
        BadRequestError: there is no such value.
    """
    config = await read_config(cwd, env)
    value = json.loads(msgspec.json.encode(config.wire))
    try:
        value = reduce(_inside, parse_key(key) if key else (), value)
    except LookupError:
        raise BadRequestError(f"key {key!r} is not set") from None
    click.echo(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))
    return ExitCode.OK


def _inside(value: Any, key: str) -> Any:
    if isinstance(value, list):
        if not key.isdecimal():
            raise LookupError(key)
        return cast("list[Any]", value)[int(key)]
    members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return members[key]


async def set_value(
    cwd: str, key: str, text: str, env: Env = os.environ, *, workspace: bool
) -> ExitCode:
    """Write a value to the user's file or the workspace's; JSON if it is some, else a text.

    Raises:
        BadRequestError: there is no such place, or the value is of the wrong kind there.
        ConfigError: the file cannot be written.
    """
    keys = parse_key(key)
    try:
        value = json.loads(text)
    except ValueError:
        value = text

    def change(document: dict[str, Any]) -> None:
        put(document, keys, value)
        try:
            decode(document)
        except msgspec.ValidationError as error:
            raise BadRequestError(f"key {key!r} cannot be {text!r}: {error}") from error

    await edit(await _file(cwd, env, workspace=workspace), change)
    return ExitCode.OK


async def unset_value(cwd: str, key: str, env: Env = os.environ, *, workspace: bool) -> ExitCode:
    """Remove a value from the user's file or the workspace's, if it is there.

    Raises:
        BadRequestError: this is no way to a value.
        ConfigError: the file cannot be written.
    """
    keys = parse_key(key)
    await edit(await _file(cwd, env, workspace=workspace), lambda document: drop(document, keys))
    return ExitCode.OK


async def _file(cwd: str, env: Env, *, workspace: bool) -> Path:
    if workspace:
        return (await read_config(cwd, env)).data_dir / FILE_NAME
    return global_data_dir(env) / FILE_NAME


# --- models, dirs, projects -----------------------------------------------------------------------


async def list_models(
    cwd: str, words: Sequence[str], env: Env = os.environ, *, every: bool
) -> ExitCode:
    """Print the models that can be chosen, one ``provider/model`` a line, the selected ones marked.

    Marks are only for terminals, but that of a provider without a key.
    """
    config = await read_config(cwd, env)
    for name, mark in _models(config, every=every):
        if all(word.lower() in name.lower() for word in words):
            shown = mark if sys.stdout.isatty() or mark == NO_KEY else ""
            click.echo(printable(f"{name}  ({shown})" if shown else name))
    return ExitCode.OK


NO_KEY = "no key"
"""How a provider is marked that is not configured."""


def _models(config: Configuration, *, every: bool) -> Iterator[tuple[str, str]]:
    """Yield each model's name and its mark."""
    selected = {
        f"{model.provider}/{model.model}": kind for kind, model in config.wire.models.items()
    }
    for provider in config.providers.values():
        for model in provider.models:
            name = f"{provider.id}/{model.id}"
            yield name, selected.get(name, "")
    for known in config.catalog if every else ():
        if known.id not in config.providers:
            yield from ((f"{known.id}/{model.id}", NO_KEY) for model in known.models)


async def list_dirs(cwd: str, env: Env = os.environ) -> ExitCode:
    """Print the files that a configuration is merged of, in that order, and the data directory."""
    found = [source.path for source in sources(find_project(Path(cwd)), env)]
    data_dir = (await read_config(cwd, env)).data_dir
    for path in (*found, data_dir / FILE_NAME):
        click.echo(f"{'read' if path.exists() else '-':<5}{path}")
    click.echo(f"data {data_dir}")
    return ExitCode.OK


def list_projects(env: Env = os.environ, *, as_json: bool) -> ExitCode:
    """Print the directories that were worked in, the last one first."""
    found = read_projects(env)
    if as_json:
        rows = {"projects": msgspec.to_builtins(found)}
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for project in found:
            click.echo(printable(f"{project.last_accessed[:19]}  {project.path}"))
    return ExitCode.OK
