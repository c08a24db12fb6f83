"""Options that decide who may come in, and how: what fits together and what does not."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from crush_trio.addresses import Address
from crush_trio.cli import main, options
from crush_trio.cli.exits import ExitCode

FILE = __file__
"""A file that is there."""


def run_main(*args: str) -> int:
    """Return the exit code of one command."""
    with pytest.raises(SystemExit) as left:
        main(list(args))
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--no-token", "--token-file", FILE), "--no-token and --token-file exclude each other"),
        (("--tls-self-signed", "--tls-cert", FILE), "--tls-self-signed and --tls-cert exclude"),
        (("--tls-key", FILE), "--tls-key needs --tls-cert"),
        (("--tls-cert", "/nowhere"), "'/nowhere' does not exist"),
        (("--token-file", "/nowhere"), "'/nowhere' does not exist"),
    ],
)
def test_options_of_serve_that_make_no_sense_exit_with_2(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], told: str
) -> None:
    """C4: before anything is opened."""
    assert run_main("serve", *args) == ExitCode.USAGE
    assert told in capsys.readouterr().err


@click.command()
@options.host
@options.tls_ca
def show(host: Address | None) -> None:
    """Print what the options have become."""
    click.echo(f"{host} {host and Path(host.ca).name}")


def test_trusted_certificates_go_with_the_address() -> None:
    """In whatever order the two are given, and only where they are looked at."""
    ask = CliRunner().invoke
    given = ("--host", "https://localhost:1"), ("--tls-ca", FILE)
    for args in ((*given[0], *given[1]), (*given[1], *given[0])):
        assert ask(show, args).output == "https://localhost:1 test_options.py\n"
    assert ask(show, given[0]).output == "https://localhost:1 \n"
    for args in (given[1], ("--host", "tcp://localhost:1", *given[1])):
        assert "--tls-ca is for an address of the form https" in ask(show, args).output
