"""What a server must refuse, and what it must not: the probes of ``crush-trio doctor`` (A1).

They change nothing on any server that speaks Crush's protocol, guarded or not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial

import attrs

from crush_trio.addresses import Address
from crush_trio.cli.asking import Question, asker

STRANGER = "attacker.example"
"""A host that is nobody's (RFC 2606)."""

COMMAND = b'{"command":"doctor"}'
"""A control command that no server knows."""

WRONG = "not-the-token-that-is-asked-for"
"""A token that is nobody's."""

MOST_TRIES = 100
"""Wrong tokens after which a server counts as one that does not count them."""

PROTOCOLS = {"http/1.1": "HTTP/1.1", "h2": "HTTP/2"}
"""ALPN's names of the protocols, and people's."""


@attrs.frozen
class Probe:
    """One question and the answers that are right.

    Attributes:
        name: What it stands for.
        right: Statuses of the answer.
        only: The protocol that can ask it, if only one can.
    """

    name: str
    question: Question
    right: tuple[int, ...]
    only: str | None = None


@attrs.frozen
class Finding:
    """What became of a probe."""

    protocol: str
    name: str
    expected: str
    answer: str
    passed: bool


async def examine(address: Address, token: str | None) -> list[Finding]:
    """Put all probes to a server, one after another, and return what became of them.

    Raises:
        ServerUnavailableError: nobody listens there.
        CertificateError: its certificate is not trusted.
    """
    findings = [_socket_mode(address.path)] if address.network == "unix" else []
    for protocol in PROTOCOLS:
        ask = asker(address, protocol)
        fitting = [probe for probe in probes(address, token) if probe.only in {None, protocol}]
        findings += [_judge(protocol, probe, await ask(probe.question)) for probe in fitting]
    if address.network == "tcp":
        findings += await _guess(address, token)
    return findings


def probes(address: Address, token: str | None) -> Iterator[Probe]:
    """Yield the probes for a server, the harmless request first."""
    get = partial(_get, address, token)
    yield Probe("a client's request", get(), (200,))
    if address.network == "tcp":
        yield from _tcp_probes(address, token)
    for origin in (f"https://{STRANGER}", "http://localhost:1", "null"):
        yield Probe(f"a page of origin {origin}", get(("origin", origin)), (403,))
    preflight = (("origin", f"https://{STRANGER}"), ("access-control-request-method", "POST"))
    asking = attrs.evolve(get(*preflight), method="OPTIONS")
    yield Probe("a page that asks whether it may", asking, (403,))
    for site in ("cross-site", "same-site"):
        yield Probe(f"a page that is {site}", get(("sec-fetch-site", site)), (403,))
    plain = attrs.evolve(
        get(("content-type", "text/plain")), method="POST", target="/v1/control", body=COMMAND
    )
    browser = attrs.evolve(plain, headers=(*plain.headers, ("sec-fetch-site", "same-origin")))
    yield Probe("a browser's JSON as text/plain", browser, (403, 415))
    yield Probe("Crush's JSON as text/plain", plain, (200, 400, 409))


def _tcp_probes(address: Address, token: str | None) -> Iterator[Probe]:
    get, strange = _get(address, token), f"{STRANGER}:{address.port}"
    url = f"{'https' if address.tls else 'http'}://{strange}{get.target}"
    yield Probe("a rebound host name", attrs.evolve(get, host=strange), (403,))
    yield Probe("a rebound name in the target", attrs.evolve(get, target=url), (403,), "http/1.1")
    yield Probe("no token", _get(address, None), (401,))
    yield Probe("a wrong token", _get(address, WRONG), (401, 429))


def _get(address: Address, token: str | None, *headers: tuple[str, str]) -> Question:
    """Return a request that a server answers whoever asks."""
    shown = () if token is None else (("authorization", f"Bearer {token}"),)
    return Question("GET", "/v1/version", address.authority, (*shown, *headers))


async def _guess(address: Address, token: str | None) -> list[Finding]:
    """Show wrong tokens until the server has had enough; it must let the right one in still."""
    ask, tries, answer = asker(address, "http/1.1"), 0, ""
    while answer != "429" and tries < MOST_TRIES:
        tries += 1
        answer = await ask(_get(address, WRONG))
    wrong = Probe(f"{tries} wrong tokens more", _get(address, WRONG), (429,))
    findings = [_judge("http/1.1", wrong, answer)]
    if token is not None:
        right = Probe("the right token after them", _get(address, token), (200,))
        findings.append(_judge("http/1.1", right, await ask(right.question)))
    return findings


def _judge(protocol: str, probe: Probe, answer: str) -> Finding:
    right = [str(status) for status in probe.right]
    return Finding(PROTOCOLS[protocol], probe.name, " or ".join(right), answer, answer in right)


def _socket_mode(path: str) -> Finding:
    """Look who may connect to a socket file."""
    mode = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116  not a checkpoint
    return Finding("", "the socket's file mode", "600", f"{mode:o}", mode == 0o600)
