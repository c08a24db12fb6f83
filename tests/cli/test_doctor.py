"""The probes of ``crush-trio doctor``, against servers that pass them and servers that do not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from hypercorn.typing import ASGIFramework
from quart import Response
from quart_trio import QuartTrio

from crush_trio.addresses import Address
from crush_trio.cli import main
from crush_trio.cli.diagnosing import diagnose, table
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.probes import Finding, examine
from crush_trio.errors import ServerUnavailableError
from crush_trio.server import ServeOptions
from crush_trio.server.access import TokenGuard
from crush_trio.server.body import read_body
from crush_trio.server.doors import choose_doors
from crush_trio.server.origins import OriginGuard, allowed_hosts
from crush_trio.server.problems import answer
from crush_trio.wire.workspaces import Control
from limits_kit import REAL_LIMIT
from serving_kit import LOOPBACK, Server, Streams, make_app, serving

TOKEN = "s3cret-token-of-this-test"


def application() -> QuartTrio:
    """Return what answers like any server that speaks Crush's protocol, guarded by nothing."""
    app = make_app(Streams())

    @app.get("/v1/version")
    async def version() -> Response:
        return answer({})

    @app.post("/v1/control")
    async def control() -> Response:
        await read_body(Control)
        return answer({"message": "unknown command"}, 400)

    return app


@asynccontextmanager
async def guarded(address: Address, ca: Path | None = None) -> AsyncGenerator[Server]:
    """Serve behind the doors that a server has at an address; ``ca`` gets its certificate."""
    tls = "self-signed" if address.tls else None
    doors = choose_doors(ServeOptions(address, env={"CRUSH_TRIO_TOKEN": TOKEN}, tls=tls))
    context = doors.encryption.context if doors.encryption else None
    if ca is not None and doors.encryption is not None:
        await trio.Path(ca).write_text(doors.encryption.certificate)
    async with serving(doors.guard(application()), address=address, tls=context) as server:
        yield server


async def failed(address: Address, token: str | None = TOKEN) -> set[str]:
    """Return the names of the probes that failed."""
    return {finding.name for finding in await examine(address, token) if not finding.passed}


@pytest.mark.promise("A1")
@pytest.mark.parametrize("network", ["tcp", "https", "unix"])
async def test_a_guarded_server_passes_every_probe(tmp_path: Path, network: str) -> None:
    """On each network, over both protocols."""
    unix = Address("unix", path=str(tmp_path / "server.sock"))
    address = unix if network == "unix" else attrs.evolve(LOOPBACK, tls=network == "https")
    async with guarded(address, ca := tmp_path / "ca.pem") as server:
        findings = await examine(attrs.evolve(server.address, ca=str(ca)), TOKEN)
    assert [finding for finding in findings if not finding.passed] == []
    assert {finding.protocol for finding in findings} >= {"HTTP/1.1", "HTTP/2"}
    assert len(findings) == {"unix": 19}.get(network, 27)


async def test_a_server_without_any_guard_fails_all_but_the_harmless_ones() -> None:
    """A probe that cannot fail shows nothing."""
    async with serving(application()) as server:
        findings = await examine(server.address, TOKEN)
        harmless = {
            "a client's request",
            "Crush's JSON as text/plain",
            "the right token after them",
        }
        assert {finding.name for finding in findings if finding.passed} == harmless
        answers = {finding.answer for finding in findings if not finding.passed}
        assert answers == {"200", "400", "405"}


async def test_each_guard_has_its_own_probes() -> None:
    """What only the other one would refuse gets through."""
    token_only: ASGIFramework = TokenGuard(application(), TOKEN)
    async with serving(token_only) as server:
        found = await failed(server.address)
        assert "a rebound host name" in found
        assert "no token" not in found
    async with serving(OriginGuard(application(), allowed_hosts(LOOPBACK))) as server:
        found = await failed(server.address)
        assert found == {"no token", "a wrong token", "100 wrong tokens more"}


async def test_a_socket_that_others_may_use_fails(tmp_path: Path) -> None:
    """The file's mode is the guard."""
    address = Address("unix", path=str(tmp_path / "server.sock"))
    async with guarded(address):
        await trio.Path(address.path).chmod(0o666)
        assert await failed(address) == {"the socket's file mode"}


async def test_a_server_that_cannot_do_http2_fails_and_holds_nobody_up() -> None:
    """Whatever the server answers, the doctor comes to an end."""

    async def rude(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, rude, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(REAL_LIMIT):
            findings = await examine(attrs.evolve(LOOPBACK, port=port), None)
        nursery.cancel_scope.cancel("the test is over")
    answers = {finding.answer for finding in findings if finding.protocol == "HTTP/2"}
    assert answers == {"connection lost"}


async def test_the_doctor_prints_a_table_and_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    """And says by its exit code whether all is well."""
    async with guarded(LOOPBACK) as server:
        assert await diagnose(server.address, TOKEN) is ExitCode.OK
        good = capsys.readouterr()
        assert good.out.splitlines()[0].split() == [
            "protocol",
            "probe",
            "expected",
            "answer",
            "verdict",
        ]
        assert "FAILED" not in good.out
        assert good.err == f"0 of 27 probes failed at {server.address}\n"
        assert TOKEN not in good.out + good.err
        assert await diagnose(server.address, None) is ExitCode.FAILED
        bad = capsys.readouterr()
        assert "a client's request" in bad.out
        assert "no token was shown" in bad.err


def test_the_tables_columns_are_aligned() -> None:
    """Whatever the server says is shown as it is, and steers no terminal."""
    shown = table([Finding("HTTP/2", "a probe", "403", "\x1b[2J", passed=False)])
    assert shown.splitlines() == [
        "protocol  probe    expected  answer   verdict",
        "HTTP/2    a probe  403       \\x1b[2J  FAILED",
    ]


async def test_without_a_server_there_is_nothing_to_examine() -> None:
    """The error is that of every command."""
    with pytest.raises(ServerUnavailableError, match=r"no server answers at tcp://127\.0\.0\.1:1"):
        await examine(Address("tcp", host="127.0.0.1", port=1), None)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--url", "http://127.0.0.1:1"), ExitCode.UNAVAILABLE, "no server answers"),
        (("--url", "127.0.0.1:1"), ExitCode.USAGE, "is not of the form"),
        (("--url", "http://127.0.0.1:1", "--tls-ca", __file__), ExitCode.USAGE, "--tls-ca is for"),
    ],
)
def test_the_command_exits_as_others_do(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...], code: ExitCode, told: str
) -> None:
    """With a message."""
    with pytest.raises(SystemExit) as left:
        main(["doctor", *args])
    assert left.value.code == code
    assert told in capsys.readouterr().err
