"""Encrypted connections: what is agreed, how they end, what goes wrong with certificates."""

from __future__ import annotations

import ssl
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import attrs
import h2.events
import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from trio.testing import wait_all_tasks_blocked

from crush_trio.addresses import Address, certificate_path
from crush_trio.client import open_client
from crush_trio.client.connection import connector
from crush_trio.errors import BadRequestError, CertificateError, ConfigError, ServerUnavailableError
from crush_trio.server import CertificateFiles
from crush_trio.server.access import certificate_paths
from crush_trio.server.certificates import make_certificate
from crush_trio.server.tls import load_encryption, make_encryption
from crush_trio.settings import Settings
from limits_kit import PROCESS_LIMIT
from process_kit import open_server_process
from project_kit import environment
from serving_kit import LOOPBACK, SETTINGS, H2Client, Server, read_until, request, serving

_PROGRAM = (sys.executable, "-P", "-m", "crush_trio")
EVENTS = b"GET /v1/events HTTP/1.1\r\nHost: t\r\n\r\n"
HTTP = "http/1.1"


@attrs.frozen
class Encrypted:
    """A server that encrypts, and the file that its clients trust."""

    server: Server
    ca: Path

    @property
    def address(self) -> Address:
        return attrs.evolve(self.server.address, ca=str(self.ca))

    async def connect(self, *protocols: str) -> trio.SSLStream[trio.SocketStream]:
        """Open a connection; it must be closed by the test."""
        stream = await connector(self.address, protocols=protocols or (HTTP,))()
        assert isinstance(stream, trio.SSLStream)
        return cast("trio.SSLStream[trio.SocketStream]", stream)

    async def status(self) -> int:
        """Return the status of a request on a connection of its own."""
        async with await self.connect() as stream:
            return (await request(stream, "GET", "/v1/health")).status


@asynccontextmanager
async def encrypted(tmp_path: Path, settings: Settings = SETTINGS) -> AsyncGenerator[Encrypted]:
    """Serve with a certificate made for this."""
    encryption = make_encryption(LOOPBACK)
    ca = tmp_path / "ca.pem"
    ca.write_text(encryption.certificate)
    async with serving(settings=settings, tls=encryption.context) as server:
        yield Encrypted(server, ca)


# --- what is agreed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(("h2", HTTP), "h2"), (("h2",), "h2"), ((HTTP,), HTTP), (("spdy/3",), None)],
)
async def test_the_protocol_is_agreed_on_with_the_encryption(
    tmp_path: Path, offered: tuple[str, ...], agreed: str | None
) -> None:
    """HTTP/2 where the client knows it, else HTTP/1.1, at one port."""
    async with encrypted(tmp_path) as place, await place.connect(*offered) as stream:
        assert stream.selected_alpn_protocol() == agreed
        if agreed == "h2":
            assert await H2Client(stream).status("GET", "/v1/health") == 200
        else:
            assert (await request(stream, "GET", "/v1/health")).status == 200


async def test_http2_is_spoken_with_prior_knowledge_too(tmp_path: Path) -> None:
    """A client that agreed on nothing may begin with it, as without encryption."""
    async with encrypted(tmp_path) as place, await place.connect("spdy/3") as stream:
        assert await H2Client(stream).status("GET", "/v1/health") == 200


async def test_old_encryption_is_refused(tmp_path: Path) -> None:
    """TLS 1.2 is the oldest."""
    async with encrypted(tmp_path) as place:
        context = ssl.create_default_context(cafile=place.ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        raw = await place.server.connect()
        async with trio.SSLStream(raw, context, server_hostname="localhost") as stream:
            assert (await request(stream, "GET", "/v1/health")).status == 200
            assert stream.cipher()[1] == "TLSv1.2"
    ours = make_encryption(LOOPBACK).context
    assert ours.minimum_version == ssl.TLSVersion.TLSv1_2
    assert ours.options & ssl.OP_NO_RENEGOTIATION  # which TLS 1.2 knows: work without end


async def test_200_streams_of_one_encrypted_connection_work(tmp_path: Path) -> None:
    """As without encryption."""
    async with encrypted(tmp_path) as place, await place.connect("h2") as stream:
        client = H2Client(stream)
        streams = [await client.send("GET", "/v1/quick") for _ in range(200)]
        for stream_id in streams:
            assert await client.wait_for(h2.events.ResponseReceived, stream_id)


# --- how connections end --------------------------------------------------------------------------


@pytest.mark.promise("S6")
async def test_an_event_stream_ends_with_a_goodbye_and_no_cut(tmp_path: Path) -> None:
    """Its body ends with the connection: without TLS's own end it would look cut off."""
    async with encrypted(tmp_path) as place, await place.connect() as stream:
        await stream.send_all(EVENTS)
        await _read_until(stream, b"first\n\n")
        place.server.stop.set()
        assert (await _read_until(stream, b"")).endswith(b"data: last\n\n")  # else an error


@pytest.mark.promise("S6")
async def test_an_idle_connection_ends_with_a_goodbye(tmp_path: Path) -> None:
    """HTTP/2 says its own before."""
    settings = attrs.evolve(SETTINGS, keep_alive_timeout=0.5)
    async with encrypted(tmp_path, settings) as place:
        async with await place.connect() as stream:
            assert (await request(stream, "GET", "/v1/health")).status == 200
            assert await stream.receive_some() == b""
        async with await place.connect("h2") as stream:
            client = H2Client(stream)
            assert await client.status("GET", "/v1/health") == 200
            assert await client.wait_for(h2.events.ConnectionTerminated)
            assert await stream.receive_some() == b""


async def test_an_answer_is_heard_although_the_request_is_still_being_sent(tmp_path: Path) -> None:
    """The connection is not closed before the client has been heard out."""
    settings = attrs.evolve(SETTINGS, body_bytes=2**20)
    async with encrypted(tmp_path, settings) as place, await place.connect() as stream:
        reply = await request(stream, "PUT", "/v1/note", body=b"x" * 8 * 2**20)
        assert reply.status == 413


@pytest.mark.parametrize("ends", ["goodbye", "cut"])
async def test_nothing_is_left_of_a_connection_that_its_client_ended(
    tmp_path: Path, ends: str
) -> None:
    """No task, however the client leaves."""
    async with encrypted(tmp_path) as place:
        before = await _tasks()
        stream = await place.connect()
        await stream.send_all(EVENTS)
        await _read_until(stream, b"first\n\n")
        await (stream.aclose() if ends == "goodbye" else stream.transport_stream.aclose())
        while await _tasks() > before:
            pass


@pytest.mark.promise("S3")
async def test_a_stalled_reader_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """It has waited in peace until the server stops, then only for the deadline."""
    settings = attrs.evolve(SETTINGS, drain_timeout=600)
    async with encrypted(tmp_path, settings) as place:
        stream = await place.connect()
        await stream.send_all(EVENTS.replace(b"events", b"events/flood"))
        await stream.receive_some()
        produced = 0
        while produced != place.server.streams.produced:
            produced = place.server.streams.produced
            for _ in range(5):
                assert await place.status() == 200
        place.server.stop.set()
        await place.server.ended.wait()
        await trio.aclose_forcefully(stream)


@pytest.mark.promise("C3")
async def test_who_speaks_no_tls_harms_nobody(tmp_path: Path) -> None:
    """Plain HTTP is closed on, silence is given up after the deadline, and neither is an error."""
    async with encrypted(tmp_path) as place:
        plain = await place.server.connect()
        await plain.send_all(EVENTS)
        await _read_until(plain, b"", cut=True)
        silent = await place.server.connect()
        await _read_until(silent, b"", cut=True)
        assert await place.status() == 200


# --- clients ----------------------------------------------------------------------------------------


async def test_our_client_talks_to_a_server_whose_certificate_it_was_given(tmp_path: Path) -> None:
    """On one connection for all its requests."""
    async with encrypted(tmp_path) as place:
        connections = 0
        connect = connector(place.address)

        async def counted() -> trio.abc.Stream:
            nonlocal connections
            connections += 1
            return await connect()

        async with open_client(place.address, connect=counted) as client:
            for _ in range(3):
                await client.health()
        async with open_client(str(place.server.address), ca=place.ca) as client:
            await client.health()
    assert connections == 1


@pytest.mark.promise("A1")
async def test_our_client_sends_nothing_to_a_server_that_it_does_not_trust(tmp_path: Path) -> None:
    """Neither by a wrong certificate nor by a wrong name; the error says what to do."""
    other = tmp_path / "other.pem"
    other.write_text(make_certificate(["localhost"])[0])
    async with encrypted(tmp_path) as place:
        bare = attrs.evolve(place.server.address)
        for address in (bare, attrs.evolve(bare, ca=str(other))):
            async with open_client(address, token="s3cret") as client:
                with pytest.raises(CertificateError, match=r"is not trusted: .* --tls-ca"):
                    await client.health()
    named = make_certificate(["box.example"])
    (tmp_path / "named.pem").write_text(named[1] + named[0])
    encryption = load_encryption(CertificateFiles(tmp_path / "named.pem"))
    async with serving(tls=encryption.context) as server:
        async with open_client(server.address, ca=tmp_path / "named.pem") as client:
            with pytest.raises(CertificateError, match=r"127\.0\.0\.1"):
                await client.health()


async def test_a_server_without_tls_is_no_server_at_an_encrypted_address(tmp_path: Path) -> None:
    """And the other way round."""
    async with serving() as server:
        address = attrs.evolve(server.address, tls=True)
        async with open_client(address) as client:
            with pytest.raises(ServerUnavailableError, match="it does not speak tls"):
                await client.health()
    async with encrypted(tmp_path) as place:
        async with open_client(attrs.evolve(place.server.address, tls=False)) as client:
            with pytest.raises(ServerUnavailableError):
                await client.health()


async def test_a_file_of_certificates_that_is_none_is_named(tmp_path: Path) -> None:
    """C4: by the client, before it connects."""
    (tmp_path / "text").write_text("hello")
    for name, reason in (("text", "no certificate in PEM"), ("missing", "no such file")):
        with pytest.raises(BadRequestError, match=f"cannot trust .*{name}.*{reason}"):
            async with open_client("https://localhost:1", ca=tmp_path / name):
                pass


# --- certificates -----------------------------------------------------------------------------------


async def test_a_made_certificate_passes_the_strictest_check(tmp_path: Path) -> None:
    """By each name of this machine and each that was allowed, and by no other."""
    address = Address("tcp", host="192.0.2.7", port=1)
    encryption = make_encryption(address, ["box.example"])
    async with serving(tls=encryption.context) as server:
        for name, fits in (
            ("localhost", True),
            ("127.0.0.1", True),
            ("::1", True),
            ("192.0.2.7", True),
            ("box.example", True),
            ("other.example", False),
        ):
            context = ssl.create_default_context(cadata=encryption.certificate)
            context.verify_flags |= ssl.VERIFY_X509_STRICT
            stream = trio.SSLStream(await server.connect(), context, server_hostname=name)
            if fits:
                await stream.do_handshake()
            else:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.do_handshake()
    wildcard = make_encryption(Address("tcp", host="0.0.0.0", port=1))
    assert wildcard.certificate


@pytest.mark.promise("A2")
def test_no_two_servers_share_a_key_and_none_is_written_down(tmp_path: Path) -> None:
    """What is published is the certificate alone."""
    first, second = make_encryption(LOOPBACK), make_encryption(LOOPBACK)
    assert first.certificate != second.certificate
    assert "PRIVATE" not in first.certificate


def test_a_given_certificate_may_have_its_key_in_another_file(tmp_path: Path) -> None:
    """Or in the same."""
    certificate, key = make_certificate(["localhost"])
    (tmp_path / "cert").write_text(certificate)
    (tmp_path / "key").write_text(key)
    (tmp_path / "both").write_text(key + certificate)
    for files in (
        CertificateFiles(tmp_path / "cert", tmp_path / "key"),
        CertificateFiles(tmp_path / "both"),
    ):
        assert load_encryption(files).certificate == ""


@pytest.mark.promise("A2")
def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """With the reason, without the key, and without a question at the terminal."""
    certificate, key = make_certificate(["localhost"])
    locked = load_pem_private_key(key.encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    contents = {
        "cert": certificate,
        "locked": locked.decode(),
        "other": make_certificate(["localhost"])[1],
        "text": "hello",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    for key_name, reason in (
        ("locked", "its key has a password"),
        ("other", "key values mismatch"),
        ("text", "it is not in PEM"),
        ("missing", "no such file"),
    ):
        files = CertificateFiles(tmp_path / "cert", tmp_path / key_name)
        with pytest.raises(
            ConfigError, match=f"cannot use certificate .*{key_name}.*{reason}"
        ) as e:
            load_encryption(files)
        assert "PRIVATE" not in str(e.value)


def test_a_made_certificate_lies_beside_the_token() -> None:
    """Under each name that leads to it."""
    bound = Address("tcp", host="127.0.0.1", port=80, tls=True)
    assert certificate_paths(bound) == {
        certificate_path(bound),
        certificate_path(attrs.evolve(bound, host="localhost")),
    }
    assert certificate_path(bound).name == "https___127.0.0.1_80.pem"


# --- as users have it -------------------------------------------------------------------------------


@pytest.mark.promise("A1", "A2")
async def test_a_server_encrypts_and_this_users_clients_find_what_they_need(tmp_path: Path) -> None:
    """Token and certificate are for their owner only, are found without a word, and go with the server."""
    state = tmp_path / "state"
    where = ("--host", "https://localhost:0", "--tls-self-signed")
    env = {"XDG_STATE_HOME": str(state)}
    with trio.fail_after(PROCESS_LIMIT):
        async with open_server_process(tmp_path, arguments=where, env=env) as server:
            address = server.log.decode().partition("listening at ")[2].strip()
            files = sorted((state / "crush-trio" / "tokens").iterdir())
            assert len(files) == 4
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
            assert not any("PRIVATE" in file.read_text() for file in files)
            program = partial(trio.run_process, check=False, capture_stdout=True)
            command = (*_PROGRAM, "doctor", "--url", address)
            found = await program(command, env={**environment(tmp_path / "home"), **env})
            assert found.returncode == 0, found.stdout.decode()
            lost = await program(command, env=environment(tmp_path / "home"), capture_stderr=True)
            assert lost.returncode == 1
            assert b"is not trusted" in (lost.stderr or b"")
            server.process.terminate()
            assert await server.wait() == 0
        assert not list((state / "crush-trio" / "tokens").iterdir())


async def _read_until(stream: trio.abc.Stream, end: bytes, *, cut: bool = False) -> bytes:
    try:
        return await read_until(stream, end)
    except trio.BrokenResourceError:
        assert cut
        return b""


async def _tasks() -> int:
    await wait_all_tasks_blocked(0.01)
    return trio.lowlevel.current_statistics().tasks_living
