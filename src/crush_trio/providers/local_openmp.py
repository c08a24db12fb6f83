"""The OpenMP library that the embedded model's engine needs, where the system has none.

The engine's wheel expects ``libgomp.so.1`` from the system, and a small Linux has none without a
package that only an administrator installs. Wheels that bring their own copy exist; one of them is
small and the same for every Python, so the copy is taken out of that, pinned by hash like the
weights. The child process alone gets it, through its environment.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

NAME = "libgomp.so.1"
"""What the engine's library asks the system for."""

SEARCH_VARIABLE = "LD_LIBRARY_PATH"
"""Environment variable with directories that the dynamic linker looks into first."""


@attrs.frozen
class Pin:
    """A file in a wheel, both pinned by SHA-256; sizes are bytes."""

    requirement: str
    wheel_sha256: str
    wheel_size: int
    member: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.member.rpartition("/")[2]


OPENMP = {
    "x86_64": Pin(
        requirement="treelite==4.8.1",
        wheel_sha256="fc63ee75e5b262a8b68cb141af169daf702f6da96fc0c661795c49ac75a04607",
        wheel_size=924_776,
        member="treelite.libs/libgomp-e985bcbb.so.1.0.0",
        sha256="a43904e4fa297301d4640dc1bb3c8a3480b406f99e498eba9b1914b68aab604a",
        size=253_289,
    ),
    "aarch64": Pin(
        requirement="treelite==4.8.1",
        wheel_sha256="f18eb03f942f414f7a2eca9d8ee1700dbba855dd5448eae73a330336b41606d3",
        wheel_size=878_091,
        member="treelite.libs/libgomp-a49a47f9.so.1.0.0",
        sha256="42643df04bdf20f9b4122d336ef3e2e6a486c536e614159ac0e981a901d54537",
        size=343_345,
    ),
}
"""GCC's OpenMP library, by machine (GPL with the runtime library exception)."""


def openmp_pin() -> Pin | None:
    """Return which copy this system needs; None where it has its own, or needs none."""
    if sys.platform != "linux":
        return None
    try:
        ctypes.CDLL(NAME)
    except OSError:
        return OPENMP.get(platform.machine())
    return None


def openmp_directory(models: Path) -> Path:
    """Return where the copy lies under its proper name, beside the models."""
    return models / "lib"


def link_openmp(file: Path) -> None:
    """Give a fetched copy its proper name, in a directory of its own."""
    link = openmp_directory(file.parent) / NAME
    link.parent.mkdir(exist_ok=True)
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(file)
    fresh.replace(link)


def with_openmp(environ: Mapping[str, str], models: Path) -> dict[str, str]:
    """Return an environment in which a copy beside the models is found, if there is one."""
    directory = openmp_directory(models)
    if not (directory / NAME).exists():
        return dict(environ)
    others = environ.get(SEARCH_VARIABLE)
    path = f"{directory}{os.pathsep}{others}" if others else str(directory)
    return {**environ, SEARCH_VARIABLE: path}
