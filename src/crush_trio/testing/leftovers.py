"""What a call leaves to the process that made it: children, open files, what Python closed for it."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TextIO

import attrs


def children() -> dict[int, str]:
    """Return the live child processes of this process, by pid, with what they run."""
    if sys.platform != "linux":
        return _children_by_ps()
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = (entry / "stat").read_text("utf-8", "replace")
                name, _, rest = stat.partition("(")[2].rpartition(")")
                state, parent = rest.split()[:2]
                if int(parent) == os.getpid() and state not in "ZX":
                    found[int(entry.name)] = _command(entry) or name
    return found


def _command(entry: Path) -> str:
    """Return a process's command line; nothing if it is just ending."""
    return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _children_by_ps() -> dict[int, str]:
    done = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,args="],  # noqa: S607 -- wherever the system has it
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        pid, parent, state, command = line.split(None, 3)
        if int(parent) == os.getpid() and not state.startswith("Z") and "ps -A" not in command:
            found[int(pid)] = command
    return found


def descriptors() -> dict[str, str]:
    """Return the open file descriptors with what they are; nothing where the system cannot tell."""
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                found[entry.name] = str(entry.readlink())
    return found


_SET_SUBREAPER, _GET_SUBREAPER = 36, 37
"""Options of Linux's ``prctl`` (``linux/prctl.h``)."""


@contextmanager
def adopting() -> Generator[None]:
    """Become the parent of what children leave behind when they end, where the system can (Linux).

    So a command that a killed shell had begun is found as well: it would be nobody's child.
    """
    if sys.platform != "linux":
        yield
        return
    prctl, before = ctypes.CDLL(None).prctl, ctypes.c_int()
    prctl(_GET_SUBREAPER, ctypes.byref(before))
    prctl(_SET_SUBREAPER, ctypes.c_ulong(1))
    try:
        yield
    finally:
        prctl(_SET_SUBREAPER, ctypes.c_ulong(before.value))


UNWAITED = re.compile(r"subprocess (\d+) is still running")
"""What Python says when a process is forgotten, whether or not it runs."""

PIPE = re.compile(r"unclosed file <_io\.\w+ name=\d+ ")
"""What it says of a process's pipes, and of any file without a name."""


@attrs.define
class Leftovers:
    """What was there before a call, to be compared with what is there after it."""

    _children: dict[int, str] = attrs.field(factory=children, init=False)
    _descriptors: dict[str, str] = attrs.field(factory=descriptors, init=False)
    _warned: list[str] = attrs.field(factory=list[str], init=False)

    @classmethod
    @contextmanager
    def looked_for(cls) -> Generator[Self]:
        """Look now, and listen to Python's resource warnings while the block lasts."""
        with adopting(), warnings.catch_warnings():
            leftovers, show_others = cls(), warnings.showwarning

            def show(
                message: Warning | str,
                category: type[Warning],
                filename: str,
                lineno: int,
                file: TextIO | None = None,
                line: str | None = None,
            ) -> None:
                if issubclass(category, ResourceWarning):
                    leftovers._warned.append(str(message))
                else:
                    show_others(message, category, filename, lineno, file, line)

            warnings.simplefilter("always", ResourceWarning)
            warnings.showwarning = show
            yield leftovers

    def found(self) -> list[str]:
        """Return what is there that was not; a child is killed, so that it is not found again."""
        wrong: list[str] = []
        left = {pid: name for pid, name in children().items() if pid not in self._children}
        for pid, command in left.items():
            wrong.append(f"the process {pid} ({command}) is left")
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, 9)
                os.waitpid(pid, 0)
        if self._opened():
            gc.collect()  # what only waits for Python's collector is told by its warning
        wrong += [
            f"the file descriptor {number} ({what}) is left" for number, what in self._opened()
        ]
        return wrong + _complaints(self._warned, left)

    def _opened(self) -> list[tuple[str, str]]:
        now = descriptors()
        return [pair for pair in now.items() if pair[0] not in self._descriptors]


def _complaints(warned: Sequence[str], left: Collection[int]) -> list[str]:
    """Return what resource warnings come to, without what is said of processes that were found."""
    unwaited = [int(found[1]) for each in warned if (found := UNWAITED.match(each))]
    others = (each for each in warned if not UNWAITED.match(each))
    return [
        *(f"nobody waited for the process {pid}" for pid in unwaited if pid not in left),
        *(
            f"left for Python to clean up: {each}"
            for each in others
            if not (PIPE.match(each) and (left or unwaited))
        ),
    ]
