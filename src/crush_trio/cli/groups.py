"""Groups of commands: short names, and lists that need no word."""

from __future__ import annotations

import click

ALIASES = {"ls": "list", "rm": "delete", "r": "run", "s": "session"}
"""Crush's short names for commands (agent contract 8.3)."""


class Aliased(click.Group):
    """A group whose commands have Crush's short names, too."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name, or by its short one."""
        found = super().get_command(ctx, cmd_name)
        return found or super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


class ListUnlessNamed(Aliased):
    """A group that lists where no command of it is named, so that words after it are a filter."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``list`` in front of what is not a command's name or a question for help."""
        if not args or (args[0] not in {"-h", "--help"} and self.get_command(ctx, args[0]) is None):
            args = ["list", *args]
        return super().parse_args(ctx, args)
