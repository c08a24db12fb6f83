"""``crush-trio session``: list, show, rename and delete (agent contract 8.3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio
from crush_trio.cli.groups import Aliased

if TYPE_CHECKING:
    from crush_trio.addresses import Address


@click.group(cls=Aliased)
def session() -> None:
    """Look at a directory's sessions, rename and delete them.

    ID is a session's UUID, its hash, or the beginning of either.
    """


@session.command("list")
@options.cwd
@options.host
@options.tls_ca
@options.json
def list_(cwd: str, host: Address | None, as_json: bool) -> ExitCode:
    """List the sessions, the last used first."""
    from crush_trio.cli.listing import list_sessions

    return run_trio(partial(list_sessions, cwd, host, as_json=as_json))


@session.command()
@click.argument("which", metavar="ID")
@options.cwd
@options.host
@options.tls_ca
@options.json
def show(which: str, cwd: str, host: Address | None, as_json: bool) -> ExitCode:
    """Print a session with its messages."""
    from crush_trio.cli.showing import show_session

    return run_trio(partial(show_session, cwd, host, which, as_json=as_json))


@session.command()
@options.cwd
@options.host
@options.tls_ca
@options.json
def last(cwd: str, host: Address | None, as_json: bool) -> ExitCode:
    """Print the session that was used last."""
    from crush_trio.cli.showing import show_session

    return run_trio(partial(show_session, cwd, host, None, as_json=as_json))


@session.command()
@click.argument("which", metavar="ID")
@click.argument("title", nargs=-1, required=True)
@options.cwd
@options.host
@options.tls_ca
@options.json
def rename(
    which: str, title: tuple[str, ...], cwd: str, host: Address | None, as_json: bool
) -> ExitCode:
    """Give a session another title."""
    from crush_trio.cli.showing import rename_session

    return run_trio(partial(rename_session, cwd, host, which, " ".join(title), as_json=as_json))


@session.command()
@click.argument("which", metavar="ID")
@options.cwd
@options.host
@options.tls_ca
@options.json
def delete(which: str, cwd: str, host: Address | None, as_json: bool) -> ExitCode:
    """Delete a session; its prompts are cancelled first."""
    from crush_trio.cli.showing import delete_session

    return run_trio(partial(delete_session, cwd, host, which, as_json=as_json))
