"""The command group and the entry point."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

from crush_trio import __version__
from crush_trio.cli.commands.cancel import cancel
from crush_trio.cli.commands.config import config, dirs, projects, schema
from crush_trio.cli.commands.doctor import doctor
from crush_trio.cli.commands.logs import logs
from crush_trio.cli.commands.model_script import model_script
from crush_trio.cli.commands.models import models
from crush_trio.cli.commands.run import run
from crush_trio.cli.commands.serve import serve
from crush_trio.cli.commands.session import session
from crush_trio.cli.commands.sessions import sessions
from crush_trio.cli.commands.watch import watch
from crush_trio.cli.exits import EXIT_CODES, shown_errors
from crush_trio.cli.groups import Aliased


@click.group(
    cls=Aliased, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, "-V", "--version", message="crush-trio %(version)s")
def cli() -> None:
    """Coding-agent sessions that outlive their clients."""


commands: tuple[click.Command, ...] = (
    serve,
    run,
    watch,
    sessions,
    session,
    cancel,
    models,
    model_script,
    config,
    dirs,
    projects,
    schema,
    doctor,
    logs,
)
for command in commands:
    cli.add_command(command)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with one of :class:`~crush_trio.cli.exits.ExitCode`."""
    with shown_errors():
        code: Any = cli.main(args, prog_name="crush-trio", standalone_mode=False)
        sys.exit(code or 0)
