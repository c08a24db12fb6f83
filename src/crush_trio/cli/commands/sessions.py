"""``crush-trio sessions``: the list, or what ``session`` does (agent contract 8.3)."""

from __future__ import annotations

import click

from crush_trio.cli.commands.session import session
from crush_trio.cli.groups import ListUnlessNamed


@click.group(cls=ListUnlessNamed)
def sessions() -> None:
    """List a directory's sessions, the last used first; else as `session`."""


for command in session.commands.values():
    sessions.add_command(command)
