"""``crush-trio config``, ``dirs``, ``projects`` and ``schema``."""

from __future__ import annotations

from functools import partial

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio

_workspace = click.option(
    "--workspace", is_flag=True, help="In the workspace's file, not in this user's own."
)


@click.group()
def config() -> None:
    """Look at the configuration, or change it.

    A server that runs reads a change with the next client that starts.
    """


@config.command("get")
@click.argument("key", required=False)
@options.cwd
def get(key: str | None, cwd: str) -> ExitCode:
    """Print the value of KEY, such as options.debug, or the whole configuration."""
    from crush_trio.cli.configuring import show_value

    return run_trio(partial(show_value, cwd, key))


@config.command("set")
@click.argument("key")
@click.argument("value")
@_workspace
@options.cwd
def set_(key: str, value: str, cwd: str, workspace: bool) -> ExitCode:
    r"""Write VALUE, which may be JSON, to KEY. A dot inside a name is written as '\.'."""
    from crush_trio.cli.configuring import set_value

    return run_trio(partial(set_value, cwd, key, value, workspace=workspace))


@config.command("unset")
@click.argument("key")
@_workspace
@options.cwd
def unset(key: str, cwd: str, workspace: bool) -> ExitCode:
    """Remove KEY from the file."""
    from crush_trio.cli.configuring import unset_value

    return run_trio(partial(unset_value, cwd, key, workspace=workspace))


@click.command()
@options.cwd
def dirs(cwd: str) -> ExitCode:
    """List the files of the configuration, in the order in which they are merged."""
    from crush_trio.cli.configuring import list_dirs

    return run_trio(partial(list_dirs, cwd))


@click.command()
@options.json
def projects(as_json: bool) -> ExitCode:
    """List the directories that were worked in."""
    from crush_trio.cli.configuring import list_projects

    return list_projects(as_json=as_json)


@click.command()
def schema() -> ExitCode:
    """Print the JSON schema of crush.json."""
    import json

    from crush_trio.config.schema import config_schema

    click.echo(json.dumps(config_schema(), indent=2))
    return ExitCode.OK
