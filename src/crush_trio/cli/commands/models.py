"""``crush-trio models``."""

from __future__ import annotations

from functools import partial

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio
from crush_trio.cli.groups import ListUnlessNamed


@click.group(cls=ListUnlessNamed)
def models() -> None:
    """List the models that can be chosen, or look after the embedded one.

    `crush-trio models gpt --all` is short for `crush-trio models list gpt --all`.
    """


@models.command("list")
@click.argument("words", nargs=-1, metavar="[FILTER]...")
@click.option("--all", "every", is_flag=True, help="Also those of providers without a key.")
@options.cwd
def list_(words: tuple[str, ...], cwd: str, every: bool) -> ExitCode:
    """List models as PROVIDER/MODEL, if their names hold every FILTER."""
    from crush_trio.cli.configuring import list_models

    return run_trio(partial(list_models, cwd, words, every=every))


@models.command()
def pull() -> ExitCode:
    """Fetch the embedded model's weights, if they are not here yet."""
    from crush_trio.cli.weights import pull_missing

    async def main() -> ExitCode:
        await pull_missing(tell_ready=True)
        return ExitCode.OK

    return run_trio(main)
