"""What ``crush-trio doctor`` does: put the probes to a server and print a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from crush_trio.addresses import Address, default_address, read_token
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.output import printable
from crush_trio.cli.probes import Finding, examine

HEADINGS = ("protocol", "probe", "expected", "answer", "verdict")


async def diagnose(address: Address | None, token: str | None) -> ExitCode:
    """Probe the server at ``address``, print what was found, and return whether all is well.

    Raises:
        CertificateError: its certificate is not trusted.
        ServerUnavailableError: nobody listens there.
    """
    address = address or default_address()
    if token is None and address.network == "tcp":
        token = read_token(address)
    findings = await examine(address, token)
    click.echo(table(findings))
    failed = sum(not finding.passed for finding in findings)
    click.echo(f"{failed} of {len(findings)} probes failed at {address}", err=True)
    if token is None and address.network == "tcp":
        click.echo("no token was shown: give one with --token or CRUSH_TRIO_TOKEN", err=True)
    return ExitCode.FAILED if failed else ExitCode.OK


def table(findings: Iterable[Finding]) -> str:
    """Return findings as lines of columns."""
    rows = [HEADINGS, *map(_row, findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _row(finding: Finding) -> tuple[str, ...]:
    verdict = "ok" if finding.passed else "FAILED"
    return finding.protocol, finding.name, finding.expected, printable(finding.answer), verdict


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
