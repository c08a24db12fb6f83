"""The sweep over the network as a session of its own: ``python -m crush_trio.testing.network_session``."""

from __future__ import annotations

import sys

import click

from crush_trio.testing.network_stories import STORIES
from crush_trio.testing.network_sweep import NetworkReport, sweep_network
from crush_trio.testing.strikes import STRIKES


@click.command()
@click.option("--story", "stories", multiple=True, type=click.Choice(list(STORIES)))
@click.option("--strike", "strikes", multiple=True, type=click.Choice(list(STRIKES)))
@click.option("--http2", is_flag=True, help="Let the clients speak HTTP/2.")
@click.option(
    "--sample", type=click.IntRange(min=1), help="Steps for each strike; all if not given."
)
@click.option("--seed", type=int, default=0, show_default=True)
def main(
    *,
    stories: tuple[str, ...],
    strikes: tuple[str, ...],
    http2: bool,
    sample: int | None,
    seed: int,
) -> None:
    """Strike the server through its connections at every step of its own code; print the figures."""
    total = NetworkReport()
    for name in stories or STORIES:
        report = sweep_network(
            STORIES[name], strikes or None, seed=seed, http2=http2, sample=sample
        )
        click.echo(f"{name}\n{report}\n")
        total.add(report)
    click.echo(f"in all\n{total}")
    sys.exit(bool(total.violations))


if __name__ == "__main__":
    main()
