"""``crush-trio run``."""

from __future__ import annotations

import os
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from crush_trio.cli import options
from crush_trio.cli.exits import ExitCode, run_trio

if TYPE_CHECKING:
    from crush_trio.addresses import Address


@click.command()
@click.argument("prompt", nargs=-1)
@options.cwd
@options.host
@options.tls_ca
@click.option(
    "-s", "--session", metavar="ID", help="Continue this session: an id, or its beginning."
)
@click.option("-C", "--continue", "continue_", is_flag=True, help="Continue the last used session.")
@click.option(
    "-m", "--model", metavar="MODEL", help="Let this model answer: NAME or PROVIDER/NAME."
)
@click.option("-y", "--yolo", is_flag=True, help="Grant every permission unasked.")
@click.option("-q", "--quiet", is_flag=True, help="Show nothing of what the agent does.")
@options.data_dir
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object at the end, and no text."
)
def run(  # noqa: PLR0913  one for each option
    prompt: tuple[str, ...],
    *,
    cwd: str,
    host: Address | None,
    session: str | None,
    continue_: bool,
    model: str | None,
    yolo: bool,
    quiet: bool,
    data_dir: str,
    as_json: bool,
) -> ExitCode:
    """Send PROMPT to the agent and print its answer as it comes.

    What is piped in is put in front of the prompt. A server is started if none runs; it stops by
    itself when nobody needs it. The run belongs to the server: if this program is killed, the run
    goes on. Ctrl-C cancels it; Ctrl-C again leaves at once.
    """
    if session is not None and continue_:
        raise click.UsageError("--session and --continue exclude each other")
    text = "\n\n".join(filter(None, [read_piped(), " ".join(prompt)]))
    if not text.strip():
        raise click.UsageError("there is no prompt: give one as an argument, or pipe one in")

    from crush_trio.cli.output import Output
    from crush_trio.cli.prompting import Request, run_prompt

    request = Request(
        prompt=text,
        cwd=cwd,
        host=host,
        session=session,
        continue_last=continue_,
        model=model,
        yolo=yolo,
        data_dir=data_dir,
        interactive=sys.stdin.isatty(),
        as_json=as_json,
    )
    return run_trio(
        partial(run_prompt, request, Output(silent=as_json, progress=False if quiet else None))
    )


def read_piped() -> str:
    """Return what is piped in or redirected from a file; nothing of a terminal, which is not read."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # closed
        return ""
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        return ""
    return sys.stdin.buffer.read().decode("utf-8", "replace").strip("\n")
